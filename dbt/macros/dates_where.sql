{#
    A row for each date of raw tables of which a condition is true, in which `{}` stands for the date's column. `tables` are
    triples of a table, its key, and the columns that hold dates. Looks at new rows.
#}
{% macro dates_where(tables, condition) %}
    {%- for table, key, columns in tables %}
    {%- set outer = loop %}
    {%- set relation = source('greenery', table) %}
    {%- set new = new_rows(relation) %}
    {%- for column in columns %}
select
    '{{ table }}' as table_name,
    {{ shown_key(relation, [key]) }} as key,
    '{{ column }}' as column_name,
    {{ utc(column) }} as found
from {{ relation }}
where
    {{ condition | replace('{}', column) }}
    and {{ new or 'true' }}
    {%- if not (outer.last and loop.last) %}

union all
    {% endif %}
    {%- endfor %}
    {%- endfor %}
{% endmacro %}
