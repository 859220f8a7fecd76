{{ config(materialized='table') }}
select order_id as parcel from {{ ref('stg_orders') }}
