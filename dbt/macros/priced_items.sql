{#
    The items of the CTE `asked` (`order_item_id`, `order_id`), each with its price; null where none is known.

    An item that a run has seen keeps the price that `order_items_snapshot` wrote down. Any other has the price in force when it
    was ordered. A version of a price is dated by the load that first showed it, and the shop changed it some time before. So an
    order that is older than that load may be at the new price already: it is, if its items at today's prices add up to what the
    shop charged for them (`order_cost`), and at the former prices they don't. An item has no price before its order is there with
    its time: items may be loaded first, and what is written down stays.

    When an item was loaded tells nothing. `order_items`, `orders` and `products` are the raw tables or the staging views of
    them; `ordered_at` says in UTC when one of the `orders` was placed. What is below zero or no number is no price.
#}
{% macro priced_items(asked, order_items, orders, products, ordered_at='ordered_at') %}
    {%- set written_down = source('last_run', 'order_items_snapshot') %}
    with

    prices as (

        {{ product_versions('price', 'numeric(16, 2)', products, known='between 0 and 99999999999999.99') | indent(8) }}

    ),

    kept as (

        {% if execute and relation_exists(written_down) -%}
        select
            order_item_id,
            price
        from {{ written_down }}
        where order_id in (select order_id from {{ asked }})
        {%- else -%}
        select
            order_item_id,
            cast(null as numeric(16, 2)) as price
        from {{ asked }}
        where false
        {%- endif %}

    ),

    unpriced as (

        select {{ asked }}.order_id
        from {{ asked }}
        left join kept on {{ asked }}.order_item_id = kept.order_item_id
        where kept.order_item_id is null

    ),

    numbered_items as (

        select
            {{ composite_key(['order_id', 'product_id']) }} as order_item_id,
            order_id,
            product_id,
            quantity
        from {{ order_items }}
        where order_id in (select order_id from unpriced)

    ),

    placed_orders as (

        select
            order_id,
            {{ ordered_at }} as ordered_at,
            round(order_cost, 2) as charged
        from {{ orders }}
        where order_id in (select order_id from unpriced)

    ),

    -- Whole orders, with the items of theirs that have a price already.
    compared_items as (

        select
            numbered_items.order_item_id,
            numbered_items.order_id,
            numbered_items.quantity,
            placed_orders.charged,
            coalesce(kept.price, former.price) as price_then,
            coalesce(kept.price, latest.price) as price_now
        from numbered_items
        inner join placed_orders on numbered_items.order_id = placed_orders.order_id
        left join kept on numbered_items.order_item_id = kept.order_item_id
        left join prices as former
            on numbered_items.product_id = former.product_id
            and (former.valid_from is null or placed_orders.ordered_at >= former.valid_from)
            and (former.valid_to is null or placed_orders.ordered_at < former.valid_to)
        left join prices as latest
            on numbered_items.product_id = latest.product_id
            and latest.valid_to is null

    ),

    added_items as (

        select
            order_item_id,
            price_then,
            price_now,
            charged,
            sum(quantity * price_then) over (partition by order_id) as cost_then,
            sum(quantity * price_now) over (partition by order_id) as cost_now
        from compared_items

    ),

    found as (

        select distinct
            order_item_id,
            case when cost_now = charged and cost_then <> charged then price_now else price_then end as price
        from added_items

    )

    select
        {{ asked }}.*,
        coalesce(kept.price, found.price) as price
    from {{ asked }}
    left join kept on {{ asked }}.order_item_id = kept.order_item_id
    left join found on {{ asked }}.order_item_id = found.order_item_id
{% endmacro %}
