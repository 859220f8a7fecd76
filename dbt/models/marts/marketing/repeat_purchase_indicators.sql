{#- The sorts and hashes of three hundred thousand buyers fit into that; with Postgres' 4 MB they go to disk, twice as slow. -#}
{{ config(pre_hook="set local work_mem = '64MB'") }}
{%- set days_to_come_back = var('come_back_days') -%}
{%- set outcomes = [] -%}
{%- for days in days_to_come_back -%}
{%- do outcomes.extend(['had_' ~ days ~ '_days', 'back_in_' ~ days ~ '_days']) -%}
{%- endfor -%}

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

-- Within the same days for everybody: whoever bought early would else have had longer to come back. A delivery is known
-- once it has come, so that the time to come back after it begins there.
timed_orders as (

    select
        described_orders.promotion,
        described_orders.browsing_time,
        described_orders.order_value,
        described_orders.number_of_products,
        described_orders.weekday,
        described_orders.first_delivery,
        {% for days in days_to_come_back -%}
        {%- set from_order = dbt.dateadd('day', days, 'described_orders.ordered_at') -%}
        {%- set from_delivery = dbt.dateadd('day', days, 'described_orders.delivered_at') -%}
        {%- set had_time = from_order ~ ' <= observed_moment.observed_until' -%}
        {%- set had_time_after_delivery = from_delivery ~ ' <= observed_moment.observed_until' -%}
        {{ had_time }} as had_{{ days }}_days,
        {{ had_time }} and described_orders.next_ordered_at <= {{ from_order }} as back_in_{{ days }}_days,
        {{ had_time_after_delivery }} as had_{{ days }}_days_after_delivery,
        {{ had_time_after_delivery }}
        and described_orders.next_ordered_after_delivery_at <= {{ from_delivery }} as back_in_{{ days }}_days_after_delivery,
        {% endfor -%}
        described_orders.order_id
    from described_orders
    cross join observed_moment

),

-- Once a buyer, however many products of the name the order holds.
ordered_products as (

    select distinct
        timed_orders.order_id,
        {% for outcome in outcomes -%}
        timed_orders.{{ outcome }},
        {% endfor -%}
        coalesce(products.product_name, order_items.product_id) as product,
        products.product_kind
    from timed_orders
    inner join order_items on timed_orders.order_id = order_items.order_id
    left join products on order_items.product_id = products.product_id

),

-- And once, however many products of the kind.
ordered_kinds as (

    select distinct
        order_id,
        {{ outcomes | join(', ') }},
        product_kind
    from ordered_products
    where product_kind is not null

),

-- By all that is known of the first order together: few rows, of which each indicator is summed up.
counted_orders as (

    select
        promotion,
        browsing_time,
        order_value,
        number_of_products,
        weekday,
        first_delivery,
        {% for outcome in outcomes -%}
        {{ count_if(outcome) }} as {{ outcome }},
        {{ count_if(outcome ~ '_after_delivery') }} as {{ outcome }}_after_delivery,
        {% endfor -%}
        count(*) as buyers
    from timed_orders
    group by promotion, browsing_time, order_value, number_of_products, weekday, first_delivery

),

counted_products as (

    select
        product,
        {% for outcome in outcomes -%}
        {{ count_if(outcome) }} as {{ outcome }},
        {% endfor -%}
        count(*) as buyers
    from ordered_products
    where product is not null
    group by product

),

counted_kinds as (

    select
        product_kind,
        {% for outcome in outcomes -%}
        {{ count_if(outcome) }} as {{ outcome }},
        {% endfor -%}
        count(*) as buyers
    from ordered_kinds
    group by product_kind

),

-- The buyers of each value, how many had the time to come back, and how many did.
parts as (

    select
        'all buyers' as indicator,
        'all buyers' as value,
        buyers,
        {{ outcomes | join(', ') }}
    from counted_orders

    {% for column in ['promotion', 'browsing_time', 'order_value', 'number_of_products', 'weekday'] -%}
    union all

    select
        '{{ column | replace("_", " ") }}' as indicator,
        {{ column }} as value,
        buyers,
        {{ outcomes | join(', ') }}
    from counted_orders

    {% endfor -%}
    union all

    select
        'product' as indicator,
        product as value,
        buyers,
        {{ outcomes | join(', ') }}
    from counted_products

    union all

    select
        'product kind' as indicator,
        product_kind as value,
        buyers,
        {{ outcomes | join(', ') }}
    from counted_kinds

    {% for value in ["'all buyers'", 'first_delivery'] -%}
    union all

    select
        'first delivery' as indicator,
        {{ value }} as value,
        buyers,
        {{ outcomes | join('_after_delivery, ') }}_after_delivery
    from counted_orders

    {% endfor %}
),

counted as (

    select
        indicator,
        value,
        {% for outcome in outcomes -%}
        cast(sum({{ outcome }}) as bigint) as {{ outcome }},
        {% endfor -%}
        cast(sum(buyers) as bigint) as buyers
    from parts
    group by indicator, value

),

windows as (

    {% for days in days_to_come_back -%}
    select
        {{ days }} as come_back_days,
        indicator,
        value,
        buyers as buyers_total,
        had_{{ days }}_days as buyers,
        back_in_{{ days }}_days as repeat_buyers
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
        repeat_buyers * 1.0 / nullif(buyers, 0) as repeat_rate
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
        observed_moment.observed_until
    from rated
    cross join observed_moment
    -- Those whose time began at the same point.
    left join rated as everybody
        on rated.come_back_days = everybody.come_back_days
        and everybody.value = 'all buyers'
        and everybody.indicator = case when rated.indicator = 'first delivery' then 'first delivery' else 'all buyers' end

)

select * from final
