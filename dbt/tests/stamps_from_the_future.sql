{{ config(
    severity='warn',
    description='A row or a deletion in raw whose stamp has not come yet, by more than a clock may be wrong. It holds nothing up and every run takes the row as changed until then; but its loader\'s clock or its mapping is wrong.'
) }}
{%- set keys = {
    'users': ['user_id'],
    'addresses': ['address_id'],
    'products': ['product_id'],
    'promos': ['promo_id'],
    'orders': ['order_id'],
    'order_items': ['order_id', 'product_id'],
    'events': ['event_id'],
} -%}
{%- set a_clock_ahead = dbt.dateadd('minute', 5, dbt.current_timestamp()) -%}
{%- set personal = [] -%}
{%- for table, key in keys.items() %}
{%- set shown = shown_key(source('greenery', table), key) -%}
{%- do personal.append(table) if shown != composite_key(key) %}
select
    '{{ table }}' as table_name,
    {{ shown }} as key,
    _loaded_at as stamped_at
from {{ source('greenery', table) }}
where _loaded_at > {{ a_clock_ahead }}

union all
{% endfor %}
select
    'deletions' as table_name,
    case
        when table_name in (
            '{{ personal | join("', '") }}'
        ) then table_name
        else {{ composite_key(['table_name', 'key']) }}
    end as key,
    deleted_at as stamped_at
from {{ raw_table('deletions') }}
where deleted_at > {{ a_clock_ahead }}
