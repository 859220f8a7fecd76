{%- set days_to_come_back = var('come_back_days') -%}

with

first_orders as (

    select * from {{ ref('int_user_first_orders') }}

),

order_items as (

    select * from {{ ref('int_order_items') }}

),

products as (

    select * from {{ ref('int_product_kinds') }}

),

orders as (

    select * from {{ ref('fact_orders') }}

),

sessions as (

    select * from {{ ref('int_user_sessions') }}

),

-- Where what is known of buyers ends: nobody was seen after it, so nobody can be said to have stayed away after it.
-- Deliveries and shipped packages don't count, since they are dated apart from what buyers do.
last_moments as (

    select max(ordered_at) as moment from orders
    union all
    select max(ended_at) as moment from sessions
    where page_views + add_to_carts + checkouts > 0

),

observed_moment as (

    select max(moment) as observed_until from last_moments

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

-- Once a buyer, however many products of the name the order holds.
ordered_products as (

    select distinct
        described_orders.order_id,
        described_orders.ordered_at,
        described_orders.next_ordered_at,
        coalesce(products.product_name, order_items.product_id) as product,
        products.product_kind
    from described_orders
    inner join order_items on described_orders.order_id = order_items.order_id
    left join products on order_items.product_id = products.product_id

),

-- And once, however many products of the kind.
ordered_kinds as (

    select distinct
        order_id,
        product_kind,
        ordered_at,
        next_ordered_at
    from ordered_products
    where product_kind is not null

),

-- What was known of each buyer's first order, and when the time to come back begins.
buyers as (

    select
        'all buyers' as indicator,
        'all buyers' as value,
        ordered_at as since,
        next_ordered_at as came_back_at
    from described_orders

    {% for column in ['promotion', 'browsing_time', 'order_value', 'number_of_products', 'weekday'] -%}
    union all

    select
        '{{ column | replace("_", " ") }}' as indicator,
        {{ column }} as value,
        ordered_at as since,
        next_ordered_at as came_back_at
    from described_orders

    {% endfor -%}
    union all

    select
        'product' as indicator,
        product as value,
        ordered_at as since,
        next_ordered_at as came_back_at
    from ordered_products
    where product is not null

    union all

    select
        'product kind' as indicator,
        product_kind as value,
        ordered_at as since,
        next_ordered_at as came_back_at
    from ordered_kinds

    -- A delivery is known once it has come, so that the time to come back begins there.
    {% for value in ["'all buyers'", 'first_delivery'] -%}
    union all

    select
        'first delivery' as indicator,
        {{ value }} as value,
        delivered_at as since,
        next_ordered_after_delivery_at as came_back_at
    from described_orders

    {% endfor %}
),

-- Within the same days for everybody: whoever bought early would else have had longer to come back.
counted as (

    select
        buyers.indicator,
        buyers.value,
        {% for days in days_to_come_back -%}
        {%- set until = dbt.dateadd('day', days, 'buyers.since') -%}
        {%- set had_time = until ~ ' <= observed_moment.observed_until' -%}
        {{ count_if(had_time) }} as buyers_{{ days }},
        {{ count_if(had_time ~ ' and buyers.came_back_at <= ' ~ until) }} as repeat_buyers_{{ days }},
        {% endfor -%}
        count(*) as buyers_total,
        max(observed_moment.observed_until) as observed_until
    from buyers
    cross join observed_moment
    group by buyers.indicator, buyers.value

),

windows as (

    {% for days in days_to_come_back -%}
    select
        {{ days }} as come_back_days,
        indicator,
        value,
        buyers_total,
        buyers_{{ days }} as buyers,
        repeat_buyers_{{ days }} as repeat_buyers,
        observed_until
    from counted
    {%- if not loop.last %}

    union all

    {% endif -%}
    {% endfor %}

),

rated as (

    select
        come_back_days,
        indicator,
        value,
        buyers_total,
        buyers,
        repeat_buyers,
        repeat_buyers * 1.0 / nullif(buyers, 0) as repeat_rate,
        observed_until
    from windows

),

final as (

    select
        {{ composite_key(['rated.come_back_days', 'rated.indicator', 'rated.value']) }} as indicator_id,
        rated.come_back_days,
        rated.indicator,
        rated.value,
        rated.buyers_total,
        rated.buyers_total - rated.buyers as buyers_without_time,
        rated.buyers,
        rated.repeat_buyers,
        cast(rated.repeat_rate as numeric(16, 4)) as repeat_rate,
        {{ wilson_bound('rated.repeat_buyers', 'rated.buyers', '-') }} as repeat_rate_low,
        {{ wilson_bound('rated.repeat_buyers', 'rated.buyers', '+') }} as repeat_rate_high,
        cast(rated.repeat_rate / nullif(everybody.repeat_rate, 0) as numeric(16, 4)) as lift,
        rated.observed_until
    from rated
    -- Those whose time began at the same point.
    left join rated as everybody
        on rated.come_back_days = everybody.come_back_days
        and everybody.value = 'all buyers'
        and everybody.indicator = case when rated.indicator = 'first delivery' then 'first delivery' else 'all buyers' end

)

select * from final
