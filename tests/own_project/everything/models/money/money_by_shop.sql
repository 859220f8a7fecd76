{{ config(materialized='materialized_view', indexes=[{'columns': ['shop']}]) }}
select shop, sum(cents) as cents from {{ ref('takings') }} group by 1
