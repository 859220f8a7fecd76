with source as (select * from {{ source('till', 'raw_goods') }})

select
    sku as good_id,
    name as good_name,
    kind = 'drink' as is_drink,
    {{ cents_to_euros('price') }} as price
from source
