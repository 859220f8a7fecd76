{#
    What was known of first orders, one row per buyer, indicator and value that fits: when the time to come back begins
    (`since`), and the first order in it (`came_back_at`). `where` leaves of the buyers those that are asked for.
#}
{% macro first_order_values(where='') %}
    with

    first_orders as (

        select * from {{ ref('int_user_first_orders') }}
        {{ where | indent(8) }}

    ),

    order_items as (

        select * from {{ ref('int_order_items') }}

    ),

    products as (

        select * from {{ ref('int_product_kinds') }}

    ),

    described_orders as (

        select
            order_id,
            ordered_at,
            next_ordered_at,
            delivered_at,
            next_ordered_after_delivery_at,
            coalesce(promo_id, 'no promotion') as promotion,
            case
                when minutes_browsed is null then 'unknown'
                when minutes_browsed < 3 then 'under 3 minutes'
                when minutes_browsed < 5 then '3 to 5 minutes'
                when minutes_browsed < 10 then '5 to 10 minutes'
                else '10 minutes or more'
            end as browsing_time,
            case
                when order_total is null then 'unknown'
                when order_total < 100 then 'under 100 dollars'
                when order_total < 200 then '100 to 200 dollars'
                when order_total < 400 then '200 to 400 dollars'
                else '400 dollars or more'
            end as order_value,
            case
                when distinct_products >= 4 then '4 or more'
                else cast(distinct_products as {{ dbt.type_string() }})
            end as number_of_products,
            {{ weekday('cast(ordered_at as date)') }} as weekday,
            case
                when delivered_at is null then 'not delivered yet'
                when is_late then 'late'
                when not is_late then 'on time'
                else 'no estimate'
            end as first_delivery
        from first_orders

    ),

    ordered_products as (

        select
            described_orders.order_id,
            described_orders.ordered_at,
            described_orders.next_ordered_at,
            coalesce(products.product_name, order_items.product_id) as product,
            products.product_kind
        from described_orders
        inner join order_items on described_orders.order_id = order_items.order_id
        left join products on order_items.product_id = products.product_id

    )

    select
        order_id,
        ordered_at,
        'all buyers' as indicator,
        'all buyers' as value,
        ordered_at as since,
        next_ordered_at as came_back_at
    from described_orders

    {% for column in ['promotion', 'browsing_time', 'order_value', 'number_of_products', 'weekday'] -%}
    union all

    select
        order_id,
        ordered_at,
        '{{ column | replace("_", " ") }}' as indicator,
        {{ column }} as value,
        ordered_at as since,
        next_ordered_at as came_back_at
    from described_orders

    {% endfor -%}
    {% for column in ['product', 'product_kind'] -%}
    -- Once a buyer, however many products of the kind the order holds.
    union all

    select distinct
        order_id,
        ordered_at,
        '{{ column | replace("_", " ") }}' as indicator,
        {{ column }} as value,
        ordered_at as since,
        next_ordered_at as came_back_at
    from ordered_products
    where {{ column }} is not null

    {% endfor -%}
    -- A delivery is known once it has come, so that the time to come back begins there.
    {% for value in ["'all buyers'", 'first_delivery'] -%}
    union all

    select
        order_id,
        ordered_at,
        'first delivery' as indicator,
        {{ value }} as value,
        delivered_at as since,
        next_ordered_after_delivery_at as came_back_at
    from described_orders

    {% endfor %}
{%- endmacro %}
