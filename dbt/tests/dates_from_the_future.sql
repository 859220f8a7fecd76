{{ config(
    description='nothing that has happened already later than now, by more than a clock may be wrong: such a date comes from a wrong clock, from local time that was read as UTC, or is a placeholder'
) }}
{%- set tables = [
    ('users', 'user_id', ['created_at', 'updated_at']),
    ('orders', 'order_id', ['created_at', 'delivered_at']),
    ('events', 'event_id', ['created_at']),
] -%}
{{ dates_where(tables, '{} > ' ~ by_any_clock(dbt.current_timestamp())) }}
