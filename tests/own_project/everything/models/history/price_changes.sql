{{ config(materialized='table') }}
select loaf, count(*) - 1 as changes from {{ ref('loaves_snapshot') }} group by 1
