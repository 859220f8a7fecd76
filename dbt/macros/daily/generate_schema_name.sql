{#
    The schema that a folder asks for. What people query is built in `analytics_next`, and beside that `staging` is `staging`. In any
    other target, which is somebody's own, it is that target's: `preview_ana_staging`. So nobody's build meets the daily run.
#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ beside_target(custom_schema_name | trim) if custom_schema_name else target.schema }}
{%- endmacro %}
