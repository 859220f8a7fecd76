{{ config(
    materialized='incremental',
    meta={'changed_key': 'product_day_id', 'changed_in': 'int_changed_product_days'}
) }}
{%- set changes = 'int_changed_product_days' %}
{# Between tags of jinja sqlfluff loses count of the indent. -#}
-- noqa: disable=LT02
with

events as (

    select * from {{ ref('int_events') }}
    {% if changes_alone(changes) -%}
    where session_id in (
        select session_id
        from {{ ref('int_events') }}
        where cast(created_at as date) in (select day from {{ ref(changes) }})
    )
    {%- endif %}

),

order_items as (

    select * from {{ ref('fact_order_items') }}

),

purchases as (

    select
        *,
        row_number() over (partition by user_id, product_id order by ordered_at, order_id) as purchase_number
    from {{ ref('fact_order_items') }}
    {% if changes_alone(changes) -%}
    where user_id in (
        select user_id
        from {{ ref('fact_order_items') }}
        where cast(ordered_at as date) in (select day from {{ ref(changes) }})
    )
    {%- endif %}

),

inventories as (

    {{ product_versions('inventory', 'integer', ref('stg_greenery__products')) | indent(4) }}

),

-- An event of an order is about every product of the order, any other event about its own.
product_events as (

    select
        events.event_id,
        events.session_id,
        events.event_type,
        events.created_at,
        coalesce(order_items.product_id, events.product_id) as product_id
    from events
    left join order_items on events.order_id = order_items.order_id

),

-- A session views a product once and checks it out once, on the day when it first does, however often it does.
numbered_events as (

    select
        product_id,
        event_type,
        cast(created_at as date) as day,
        row_number() over (
            partition by session_id, product_id, event_type
            order by created_at, event_id
        ) as event_number
    from product_events
    where product_id is not null

),

daily_events as (

    select
        product_id,
        day,
        {{ count_if("event_type = 'page_view'") }} as page_views,
        {{ count_if("event_type = 'page_view' and event_number = 1") }} as sessions_viewed,
        {{ count_if("event_type = 'add_to_cart'") }} as add_to_carts,
        {{ count_if("event_type = 'checkout' and event_number = 1") }} as checkouts,
        {{ count_if("event_type = 'package_shipped'") }} as packages_shipped
    from numbered_events
    group by product_id, day

),

daily_sales as (

    select
        product_id,
        cast(ordered_at as date) as day,
        count(distinct order_id) as orders,
        sum(quantity) as units,
        sum(amount) as revenue,
        {{ count_if('purchase_number = 1 and user_id is not null') }} as new_buyers
    from purchases
    group by product_id, cast(ordered_at as date)

),

product_days as (

    select product_id, day from daily_events
    union distinct
    select product_id, day from daily_sales

),

final as (

    select
        {{ composite_key(['product_days.product_id', 'product_days.day']) }} as product_day_id,
        product_days.product_id,
        product_days.day,
        coalesce(daily_events.page_views, 0) as page_views,
        coalesce(daily_events.sessions_viewed, 0) as sessions_viewed,
        coalesce(daily_events.add_to_carts, 0) as add_to_carts,
        coalesce(daily_events.checkouts, 0) as checkouts,
        coalesce(daily_events.packages_shipped, 0) as packages_shipped,
        coalesce(daily_sales.orders, 0) as orders,
        coalesce(daily_sales.units, 0) as units,
        cast(coalesce(daily_sales.revenue, 0) as numeric(16, 2)) as revenue,
        coalesce(daily_sales.new_buyers, 0) as new_buyers,
        inventories.inventory
    from product_days
    left join daily_events
        on product_days.product_id = daily_events.product_id
        and product_days.day = daily_events.day
    left join daily_sales
        on product_days.product_id = daily_sales.product_id
        and product_days.day = daily_sales.day
    -- As last known before the day was over.
    left join inventories
        on product_days.product_id = inventories.product_id
        and (inventories.valid_from is null or inventories.valid_from < {{ dbt.dateadd('day', 1, 'product_days.day') }})
        and (inventories.valid_to is null or inventories.valid_to >= {{ dbt.dateadd('day', 1, 'product_days.day') }})

)

select * from final
{{ only_changed('product_day_id', changes) }}
