{{ config(materialized='ephemeral') }}
select shop, street from {{ ref('shops') }}
