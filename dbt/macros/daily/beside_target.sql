{# The name of a schema of ours beside the one that is built in. #}
{% macro beside_target(name) %}
    {{ return(name if target.schema == 'analytics_next' else target.schema ~ '_' ~ name) }}
{% endmacro %}

{# A table of `ops` as SQL names it: of what is remembered of the schema that is built in. #}
{% macro in_ops(table) %}
    {{ return(adapter.quote(beside_target('ops')) ~ '.' ~ adapter.quote(table)) }}
{% endmacro %}
