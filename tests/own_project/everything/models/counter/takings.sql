{{ config(
    materialized='table',
    contract={'enforced': true},
    indexes=[{'columns': ['sold_on', 'shop'], 'unique': true}],
    pre_hook="insert into crumb.runs_of_dbt (what) values ('before takings in {{ target.schema }}')",
    post_hook="insert into crumb.runs_of_dbt (what) values ('after takings in {{ target.schema }}')",
    grants={'select': ['crumb_auditor']}
) }}
select sold_on, shop, cast(sum(cents) as bigint) as cents, {{ flour.euros('sum(cents)') }} as euros
from {{ ref('int_sold') }}
group by 1, 2
