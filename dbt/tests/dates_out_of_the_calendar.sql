{{ config(
    description='A date that makes a day of the figures, or an estimate that decides what is late, which lies before `earliest_date` (dbt_project.yml) or beyond what dim_days can hold from then on: a placeholder such as 1900-01-01, or a year that was mistyped. Mend it where it comes from; if the shop is older than that, set `earliest_date`.'
) }}
{%- set tables = [
    ('users', 'user_id', ['created_at']),
    ('orders', 'order_id', ['created_at', 'delivered_at', 'estimated_delivery_at']),
    ('events', 'event_id', ['created_at']),
] -%}
{%- set first = "cast('" ~ var('earliest_date') ~ "' as timestamp)" -%}
{%- set last = dbt.dateadd('day', calendar_days() - 1, first) -%}
{{ dates_where(tables, utc('{}') ~ ' not between ' ~ first ~ ' and ' ~ last) }}
