{# Columns by name, and from raw: whatever becomes of staging, or of a column that nobody declared, history goes on. #}
{% snapshot orders_snapshot %}

select
    order_id,
    user_id,
    created_at,
    status,
    tracking_id,
    shipping_service,
    estimated_delivery_at,
    delivered_at,
    _loaded_at
from {{ source('greenery', 'orders') }}
{{ loaded_lately() }}

{% endsnapshot %}
