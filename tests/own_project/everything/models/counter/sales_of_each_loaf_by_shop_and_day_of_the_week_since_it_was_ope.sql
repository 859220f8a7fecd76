{{ config(materialized='incremental', unique_key='loaf', indexes=[{'columns': ['loaf']}]) }}
select loaf, count(*) as sales from {{ ref('stg_sales') }} group by 1
