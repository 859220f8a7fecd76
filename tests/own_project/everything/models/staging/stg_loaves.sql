with source as (select * from {{ source('till', 'Loaves') }})
select loaf, "List Price" as list_price, "group" as kind, changed_at from source
