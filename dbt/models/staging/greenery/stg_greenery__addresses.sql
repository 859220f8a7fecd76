select
    address_id,
    address,
    zipcode,
    state,
    country,
    _loaded_at
from {{ source('greenery', 'addresses') }}
