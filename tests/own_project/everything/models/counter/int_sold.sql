{{ config(materialized='ephemeral') }}
select sale_id, loaf, shop, cents, sold_on, sold_at from {{ ref('stg_sales') }} where cents > 0
