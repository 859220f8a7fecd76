select distinct shop from {{ ref('takings_snapshot') }} where dbt_valid_to is not null
