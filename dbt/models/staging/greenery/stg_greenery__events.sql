select
    event_id,
    session_id,
    user_id,
    order_id,
    product_id,
    event_type,
    page_url,
    {{ utc('created_at') }} as created_at,
    _loaded_at
from {{ source('greenery', 'events') }}
