{%- set former_changes = former('order_status_changes') -%}
with

{% if former_changes -%}
versions as (

    select * from {{ ref('orders_snapshot') }}

),

told as (

    select * from {{ former_changes }}

),

-- By what is lacking and not by what is newer: a version that was dated ahead would hide all that come before its time.
lacking as (

    select was.order_id
    from versions as was
    left join told
        on was.order_id = told.order_id
        and was.dbt_valid_to = told.changed_at
    where was.dbt_valid_to is not null and told.order_id is null

),

-- What history holds no more: an older one was restored and accepted.
untold as (

    select told.order_id
    from told
    left join versions as became on told.order_change_id = became.dbt_scd_id
    where became.dbt_scd_id is null

),

final as (

    select order_id from lacking
    union distinct
    select order_id from untold

)
{%- else -%}
final as (

    select order_id
    from {{ ref('orders_snapshot') }}
    where false

)
{%- endif %}

select * from final
