{%- set former_changes = former('order_status_changes') -%}
{%- set since = untaken_since('order_status_changes') if former_changes -%}
with

{% if former_changes -%}
{% if since -%}
-- Any other order is as it was told, until all are looked at.
looked_at as (

    select order_id
    from {{ ref('orders_snapshot') }}
    where dbt_valid_from > cast('{{ since }}' as timestamp)

),

{% endif -%}
versions as (

    select * from {{ ref('orders_snapshot') }}
    {%- if since %}
    where order_id in (select order_id from looked_at)
    {%- endif %}

),

told as (

    select * from {{ former_changes }}
    {%- if since %}
    where order_id in (select order_id from looked_at)
    {%- endif %}

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

-- What history holds no more: an older one was restored and accepted, upon which all are looked at.
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
