select sale_id, loaf, shop, cents, sold_on, sold_at from {{ source('till', 'sales') }}
