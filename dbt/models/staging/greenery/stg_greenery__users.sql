select
    user_id,
    address_id,
    first_name,
    last_name,
    email,
    phone_number,
    {{ utc('created_at') }} as created_at,
    {{ utc('updated_at') }} as updated_at,
    _loaded_at
from {{ source('greenery', 'users') }}
