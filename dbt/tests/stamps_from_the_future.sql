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
{%- for table, key in keys.items() %}
select
    '{{ table }}' as table_name,
    {{ composite_key(key) }} as key,
    _loaded_at as stamped_at
from {{ source('greenery', table) }}
where _loaded_at > {{ a_clock_ahead }}

union all
{% endfor %}
select
    'deletions' as table_name,
    {{ composite_key(['table_name', 'key']) }} as key,
    deleted_at as stamped_at
from {{ raw_table('deletions') }}
where deleted_at > {{ a_clock_ahead }}
