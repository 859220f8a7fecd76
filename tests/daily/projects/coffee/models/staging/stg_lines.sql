with source as (select * from {{ source('till', 'raw_lines') }})

select
    id as line_id,
    ticket as ticket_id,
    sku as good_id
from source
