{%- set days_to_come_back = var('come_back_days') -%}

with

first_orders as (

    select * from {{ ref('int_user_first_orders') }}

),

orders as (

    select * from {{ ref('fact_orders') }}

),

sessions as (

    select * from {{ ref('int_user_sessions') }}

),

order_items as (

    select * from {{ ref('int_order_items') }}

),

products as (

    select * from {{ ref('stg_greenery__products') }}

),

-- Where what is known of buyers ends: nobody was seen after it, so nobody can be said to have stayed away after it.
-- Deliveries and shipped packages don't count, since they are dated apart from what buyers do.
last_moments as (

    select max(ordered_at) as moment from orders
    union all
    select max(ended_at) as moment from sessions
    where page_views + add_to_carts + checkouts > 0

),

observed as (

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

-- The data knows no kinds. The last word of a name is one where several products share it: fern, palm, tree.
named_products as (

    select
        product_id,
        product_name,
        lower({{ dbt.split_part('product_name', "' '", -1) }}) as last_word,
        count(*) over (partition by lower({{ dbt.split_part('product_name', "' '", -1) }})) as products_with_it
    from products

),

ordered_products as (

    select
        described_orders.order_id,
        described_orders.ordered_at,
        described_orders.next_ordered_at,
        coalesce(named_products.product_name, order_items.product_id) as product,
        case when named_products.products_with_it > 1 then named_products.last_word end as product_kind
    from described_orders
    inner join order_items on described_orders.order_id = order_items.order_id
    left join named_products on order_items.product_id = named_products.product_id

),

-- One row per buyer and value that fits: `since` is when the time to come back begins, `came_back_at` the first order in it.
candidates as (

    select
        order_id,
        'all buyers' as indicator,
        'all buyers' as value,
        ordered_at as since,
        next_ordered_at as came_back_at
    from described_orders

    {% for column in ['promotion', 'browsing_time', 'order_value', 'number_of_products', 'weekday'] -%}
    union all

    select
        order_id,
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
        'first delivery' as indicator,
        {{ value }} as value,
        delivered_at as since,
        next_ordered_after_delivery_at as came_back_at
    from described_orders

    {% endfor %}
),

counted as (

    select
        candidates.indicator,
        candidates.value,
        {% for days in days_to_come_back -%}
        {%- set until = dbt.dateadd('day', days, 'candidates.since') -%}
        {{ count_if(until ~ ' <= observed.observed_until') }} as buyers_{{ days }},
        -- Within the same days for everybody: whoever bought early would else have had longer to come back.
        {{ count_if(until ~ ' <= observed.observed_until and candidates.came_back_at <= ' ~ until) }} as repeat_buyers_{{ days }},
        {% endfor -%}
        count(*) as buyers_total,
        max(observed.observed_until) as observed_until
    from candidates
    cross join observed
    group by candidates.indicator, candidates.value

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
