{%- set orders = ref('stg_greenery__orders') -%}
{%- set order_items = ref('stg_greenery__order_items') -%}
{%- set promos = ref('stg_greenery__promos') -%}
{%- set addresses = ref('stg_greenery__addresses') -%}
{%- set changed_events = ref('int_changed_events') -%}
{%- set deletions = source('loading', 'deletions') -%}
{%- set former_items = former('int_order_items') -%}
{%- set former_orders = former('int_orders') -%}
{%- set former_facts = former('fact_orders') -%}
with

{% if former_items -%}
changed_items as (

    {{ changed_keys('order_items', 'order_item_id', order_items, deletions) | indent(4) }}

),

{% endif -%}

{% if former_orders -%}
changed_promos as (

    {{ changed_keys('promos', 'promo_id', promos, deletions) | indent(4) }}

),

{% endif -%}

{% if former_facts -%}
changed_addresses as (

    {{ changed_keys('addresses', 'address_id', addresses, deletions) | indent(4) }}

),

{% endif -%}

changed as (

    {% if former_items -%}
    {{ changed_keys('orders', 'order_id', orders, deletions) | indent(4) }}

    union distinct

    select order_id
    from {{ former_items }}
    where order_item_id in (select order_item_id from changed_items)

    union distinct

    select order_id
    from {{ order_items }}
    where {{ is_new('order_items') }}

    union distinct

    -- What no price was known of is priced once there is one; any other item keeps its own.
    select order_id
    from {{ former_items }}
    where unit_price is null

    union distinct

    -- The first checkout says to which session an order belongs.
    select order_id
    from {{ changed_events }}
    where event_type = 'checkout'
    {%- else -%}
    select order_id from {{ orders }} where false
    {%- endif %}

    {%- if former_orders %}

    union distinct

    -- Of a promotion only the discount shows in an order, and it hardly ever changes. Two questions, each of which the index by
    -- promotion and discount answers; it doesn't know what is another discount.
    select former.order_id
    from changed_promos
    left join {{ promos }} as promos on changed_promos.promo_id = promos.promo_id
    inner join {{ former_orders }} as former
        on changed_promos.promo_id = former.promo_id
        and former.discount < coalesce(promos.discount, 0)

    union distinct

    select former.order_id
    from changed_promos
    left join {{ promos }} as promos on changed_promos.promo_id = promos.promo_id
    inner join {{ former_orders }} as former
        on changed_promos.promo_id = former.promo_id
        and former.discount > coalesce(promos.discount, 0)
    {%- endif %}

    {%- if former_facts %}

    union distinct

    select order_id
    from {{ former_facts }}
    where shipping_address_id in (select address_id from changed_addresses)
    {%- endif %}

),

-- What they were when this buffer was built: it concerns the user, the products and the days of then as well.
former_orders as (

    select
        order_id,
        user_id,
        ordered_at,
        delivered_at
    from {{ former_orders or orders }}

),

former_items as (

    {% if former_items -%}
    select
        order_id,
        product_id,
        quantity,
        amount
    from {{ former_items }}
    {%- else -%}
    select
        order_id,
        product_id,
        quantity,
        cast(null as numeric(16, 2)) as amount
    from {{ order_items }}
    {%- endif %}

),

final as (

    select
        {{ composite_key(['changed.order_id', "coalesce(former_items.product_id, '')"]) }} as changed_order_item_id,
        changed.order_id,
        former_orders.user_id as former_user_id,
        former_orders.ordered_at as formerly_ordered_at,
        former_orders.delivered_at as formerly_delivered_at,
        former_items.product_id as former_product_id,
        former_items.quantity as former_quantity,
        former_items.amount as former_amount
    from changed
    left join former_orders on changed.order_id = former_orders.order_id
    left join former_items on changed.order_id = former_items.order_id
    where changed.order_id is not null

)

select * from final
