select
    promo_id,
    cast(discount as numeric(16, 2)) as discount,
    status,
    _loaded_at
from {{ source('greenery', 'promos') }}
