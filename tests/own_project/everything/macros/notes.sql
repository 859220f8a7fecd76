{% macro note_run(what) %}
    insert into crumb.runs_of_dbt (what) values ('{{ what }} of {{ target.schema }}')
{% endmacro %}

{# An operation, for dbt run-operation. #}
{% macro note_by_hand() %}
    {% do run_query(note_run('by hand') ~ '; commit') %}
{% endmacro %}

{# In place of dbt's own: a model of the night shift is called so. #}
{% macro generate_alias_name(custom_alias_name=none, node=none) -%}
    {%- if custom_alias_name -%}
        {{ custom_alias_name | trim }}
    {%- elif node.version -%}
        {{ node.name ~ '_v' ~ (node.version | replace('.', '_')) }}
    {%- elif 'night' in node.tags -%}
        {{ 'night_' ~ node.name }}
    {%- else -%}
        {{ node.name }}
    {%- endif -%}
{%- endmacro %}

{% test one_a_day(model, column_name) %}
    select {{ column_name }} from {{ model }} group by 1 having count(*) > 1
{% endtest %}
