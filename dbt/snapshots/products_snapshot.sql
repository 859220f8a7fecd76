{% snapshot products_snapshot %}

select
    product_id,
    name,
    price,
    inventory,
    {{ utc('_loaded_at') }} as _loaded_at
from {{ source('greenery', 'products') }}

{% endsnapshot %}
