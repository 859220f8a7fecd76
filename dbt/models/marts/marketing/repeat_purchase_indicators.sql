{%- set days_to_come_back = var('come_back_days') -%}

with

values_of_days as (

    select * from {{ ref('int_first_order_values') }}

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

observed as (

    select
        {% for days in days_to_come_back -%}
        cast({{ dbt.dateadd('day', '-' ~ days, 'observed_until') }} as date) as last_day_{{ days }},
        {% endfor -%}
        observed_until
    from observed_moment

),

-- Days on which the time to come back begins that is over for some buyers and not for others: these are looked at one by one.
divided_days as (

    {% for days in days_to_come_back -%}
    select last_day_{{ days }} as day from observed
    {{ 'union distinct' if not loop.last }}
    {% endfor %}
),

divided_buyers as (

    select user_id
    from {{ ref('int_user_first_orders') }}
    where cast(ordered_at as date) in (select day from divided_days)

    union distinct

    select user_id
    from {{ ref('int_user_first_orders') }}
    where cast(delivered_at as date) in (select day from divided_days)

),

buyers as (

    {{ first_order_values('where user_id in (select user_id from divided_buyers)') | indent(4) }}

),

-- Within the same days for everybody: whoever bought early would else have had longer to come back.
counted_days as (

    select
        values_of_days.indicator,
        values_of_days.value,
        {% for days in days_to_come_back -%}
        {%- set had_time = 'values_of_days.since_on < observed.last_day_' ~ days -%}
        {%- set came_back = had_time ~ ' and values_of_days.came_back_within <= ' ~ days -%}
        sum(case when {{ had_time }} then values_of_days.buyers else 0 end) as buyers_{{ days }},
        sum(case when {{ came_back }} then values_of_days.buyers else 0 end) as repeat_buyers_{{ days }},
        {% endfor -%}
        sum(values_of_days.buyers) as buyers_total
    from values_of_days
    cross join observed
    group by values_of_days.indicator, values_of_days.value

),

counted_divided as (

    select
        buyers.indicator,
        buyers.value,
        {% for days in days_to_come_back -%}
        {%- set until = dbt.dateadd('day', days, 'buyers.since') -%}
        {%- set is_divided = 'cast(buyers.since as date) = observed.last_day_' ~ days -%}
        {%- set had_time = is_divided ~ ' and ' ~ until ~ ' <= observed.observed_until' -%}
        {{ count_if(had_time) }} as buyers_{{ days }},
        {{ count_if(had_time ~ ' and buyers.came_back_at <= ' ~ until) }} as repeat_buyers_{{ days }},
        {% endfor -%}
        0 as buyers_total
    from buyers
    cross join observed
    group by buyers.indicator, buyers.value

),

counted_apart as (

    select * from counted_days
    union all
    select * from counted_divided

),

counted as (

    select
        counted_apart.indicator,
        counted_apart.value,
        {% for days in days_to_come_back -%}
        cast(sum(counted_apart.buyers_{{ days }}) as bigint) as buyers_{{ days }},
        cast(sum(counted_apart.repeat_buyers_{{ days }}) as bigint) as repeat_buyers_{{ days }},
        {% endfor -%}
        cast(sum(counted_apart.buyers_total) as bigint) as buyers_total,
        max(observed.observed_until) as observed_until
    from counted_apart
    cross join observed
    group by counted_apart.indicator, counted_apart.value

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
