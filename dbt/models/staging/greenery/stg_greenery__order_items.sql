select
    {{ composite_key(['order_id', 'product_id']) }} as order_item_id,
    order_id,
    product_id,
    quantity,
    _loaded_at
from {{ source('greenery', 'order_items') }}
