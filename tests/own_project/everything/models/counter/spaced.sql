{{ config(materialized='table', alias='Sales by Shop, v1.0') }}
select shop as "The Shop", count(*) as "n" from {{ ref('stg_sales') }} group by 1
