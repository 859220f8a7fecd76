select
    order_id,
    user_id,
    promo_id,
    address_id,
    status,
    cast(order_cost as numeric(16, 2)) as order_cost,
    cast(shipping_cost as numeric(16, 2)) as shipping_cost,
    cast(order_total as numeric(16, 2)) as order_total,
    tracking_id,
    shipping_service,
    {{ utc('created_at') }} as ordered_at,
    {{ utc('estimated_delivery_at') }} as estimated_delivery_at,
    {{ utc('delivered_at') }} as delivered_at,
    _loaded_at
from {{ source('greenery', 'orders') }}
