with source as (select * from {{ source('till', 'raw_tickets') }})

select
    id as ticket_id,
    branch as branch_id,
    guest as guest_id,
    sold_at
from source
