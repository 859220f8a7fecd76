{# The key of a row as a message may show it, as text: null where a column of it tells of a person, or is not declared. #}
{% macro shown_key(relation, columns) -%}
    {%- set declared = (node_of(relation) or {}).columns or {} -%}
    {%- set personal = namespace(found=false) -%}
    {%- for column in columns if is_personal(declared[column]) -%}
        {%- set personal.found = true -%}
    {%- endfor -%}
    {{ 'cast(null as ' ~ dbt.type_string() ~ ')' if personal.found else composite_key(columns) }}
{%- endmacro %}
