with source as (select * from {{ source('till', 'raw_guests') }})

select
    id as guest_id,
    name as guest_name
from source
