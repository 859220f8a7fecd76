{{ config(materialized='table', schema='books') }}
select sold_on, sum(cents) as cents from {{ ref('takings') }} group by 1
