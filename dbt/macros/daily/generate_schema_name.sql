{# A schema that a folder asks for is used as it is: `staging`, not `analytics_next_staging`. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name | trim if custom_schema_name else target.schema }}
{%- endmacro %}
