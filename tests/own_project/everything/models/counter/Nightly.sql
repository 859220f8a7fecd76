{{ config(materialized='table', tags=['night']) }}
select count(*) as sales from {{ ref('stg_sales') }}
