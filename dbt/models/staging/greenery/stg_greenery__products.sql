select
    product_id,
    name as product_name,
    cast(price as numeric(16, 2)) as price,
    inventory,
    _loaded_at
from {{ source('greenery', 'products') }}
