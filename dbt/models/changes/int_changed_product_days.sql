{%- set former_days = former('fact_product_sessions_daily') -%}
{%- set item = 'order_id, product_id, user_id, ordered_at, quantity, amount' -%}
with

changed_events as (

    select * from {{ ref('int_changed_events') }}

),

changed_orders as (

    select * from {{ ref('int_changed_orders') }}

),

-- Each once for each question, since what is asked twice would be read as a whole.
events as (

    select * from {{ ref('int_events') }}

),

events_of_orders as (

    select * from {{ ref('int_events') }}
    where order_id in (select order_id from {{ ref('int_changed_orders') }})

),

order_items as (

    select * from {{ ref('fact_order_items') }}

),

order_items_changed as (

    select * from {{ ref('fact_order_items') }}
    where order_id in (select order_id from {{ ref('int_changed_orders') }})

),

order_items_of_users as (

    select * from {{ ref('fact_order_items') }}

),

former_items as (

    select
        order_id,
        former_product_id as product_id,
        former_user_id as user_id,
        formerly_ordered_at as ordered_at,
        former_quantity as quantity,
        former_amount as amount
    from changed_orders
    where former_product_id is not null

),

present_items as (

    select {{ item }}
    from order_items_changed

),

-- Most orders that changed only went on to be shipped or delivered, which concerns no product.
vanished_items as (

    select {{ item }} from former_items
    {{ dbt.except() }}
    select {{ item }} from present_items

),

appeared_items as (

    select {{ item }} from present_items
    {{ dbt.except() }}
    select {{ item }} from former_items

),

changed_items as (

    select {{ item }} from vanished_items
    union all
    select {{ item }} from appeared_items

),

-- Of the events of a kind in a session the first counts for some figures, so all of them are concerned.
changed_kinds as (

    select
        session_id,
        event_type
    from changed_events

    union distinct

    select
        session_id,
        event_type
    from events_of_orders
    where order_id in (select order_id from changed_items)

),

concerned_events as (

    select
        order_id,
        product_id,
        cast(created_at as date) as day
    from changed_events

    union distinct

    select
        events.order_id,
        events.product_id,
        cast(events.created_at as date) as day
    from events
    inner join changed_kinds
        on events.session_id = changed_kinds.session_id
        and events.event_type = changed_kinds.event_type

),

concerned as (

    select
        product_id,
        day
    from concerned_events

    union distinct

    select
        order_items.product_id,
        concerned_events.day
    from concerned_events
    inner join order_items on concerned_events.order_id = order_items.order_id

    union distinct

    select
        former_items.product_id,
        concerned_events.day
    from concerned_events
    inner join former_items on concerned_events.order_id = former_items.order_id

    union distinct

    select
        product_id,
        cast(ordered_at as date) as day
    from changed_items

    union distinct

    -- The first order of a user and product counts as a new buyer. One that comes or goes concerns those after it alone.
    select
        order_items_of_users.product_id,
        cast(order_items_of_users.ordered_at as date) as day
    from order_items_of_users
    inner join changed_items
        on order_items_of_users.user_id = changed_items.user_id
        and order_items_of_users.product_id = changed_items.product_id
        and order_items_of_users.ordered_at >= changed_items.ordered_at

    {%- if former_days %}

    union distinct

    -- An inventory counts from the day on which it was loaded.
    select
        product_id,
        day
    from {{ former_days }}
    where day >= cast({{ utc("cast('" ~ watermark('products') ~ "' as timestamp with time zone)") }} as date)
    {%- endif %}

),

final as (

    select
        {{ composite_key(['product_id', 'day']) }} as product_day_id,
        product_id,
        day
    from concerned
    where product_id is not null and day is not null{{ '' if former_days else ' and false' }}

)

select * from final
