{%- set former_changes = former('order_status_changes') -%}
with

versions as (

    select * from {{ ref('orders_snapshot') }}

),

-- A version is dated by the run that took it, so whatever this buffer lacks is newer than all that it holds.
final as (

    select distinct order_id
    from versions
    {% if former_changes -%}
    where dbt_valid_from > (select coalesce(max(changed_at), cast('-infinity' as timestamp)) from {{ former_changes }})
    {%- else -%}
    where false
    {%- endif %}

)

select * from final
