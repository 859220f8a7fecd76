{{ config(
    description='nothing that has happened already later than now, by more than a clock may be wrong: such a date comes from a wrong clock, from local time that was read as UTC, or is a placeholder'
) }}
{%- set tables = [
    ('users', 'user_id', ['created_at', 'updated_at']),
    ('orders', 'order_id', ['created_at', 'delivered_at']),
    ('events', 'event_id', ['created_at']),
] -%}
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
    {{ column }} > {{ by_any_clock(dbt.current_timestamp()) }}
    and {{ new or 'true' }}
{%- if not (outer.last and loop.last) %}

union all
{% endif %}
{%- endfor %}
{%- endfor %}
