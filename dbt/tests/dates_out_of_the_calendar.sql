{{ config(
    description='A date that makes a day of the figures and lies before `earliest_date` (dbt_project.yml) or beyond what dim_days can hold from then on: a placeholder such as 1900-01-01, or a year that was mistyped. Mend it where it comes from; if the shop is older than that, set `earliest_date`.'
) }}
{%- set tables = [
    ('users', 'user_id', ['created_at']),
    ('orders', 'order_id', ['created_at', 'delivered_at']),
    ('events', 'event_id', ['created_at']),
] -%}
{%- set first = "cast('" ~ var('earliest_date') ~ "' as timestamp)" -%}
{%- set last = dbt.dateadd('day', calendar_days() - 1, first) -%}
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
    {{ utc(column) }} not between {{ first }} and {{ last }}
    and {{ new or 'true' }}
{%- if not (outer.last and loop.last) %}

union all
{% endif %}
{%- endfor %}
{%- endfor %}
