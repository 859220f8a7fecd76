{% snapshot products_snapshot %}

select
    product_id,
    name,
    {# What is no number is kept as no value: it would price what was ordered until it was mended. -#}
    case when price not in ('NaN', 'Infinity', '-Infinity') then price end as price,
    inventory,
    {{ utc('_loaded_at') }} as _loaded_at
from {{ source('greenery', 'products') }}

{% endsnapshot %}
