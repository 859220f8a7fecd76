{#- What each metric counts, and what it is divided by where it is a rate or a mean. -#}
{%- set metrics = {
    'users': ('users', none),
    'new_users': ('new_users', none),
    'orders': ('orders', none),
    'revenue': ('revenue', none),
    'paid': ('paid', none),
    'units': ('units', none),
    'sessions': ('sessions', none),
    'conversion': ('converted_sessions', 'sessions'),
    'repeat_rate': ('repeat_buyers', 'buyers'),
    'late_rate': ('late_orders', 'orders_with_estimate'),
    'mean_delivery_hours': ('delivery_hours', 'delivered_orders'),
    'oversold_products': ('oversold_products', none),
} -%}

with

days as (

    select * from {{ ref('dim_days') }}

),

figures as (

    select * from {{ ref('int_daily_figures') }}

),

oversold_changes as (

    select * from {{ ref('int_product_oversold_changes') }}

),

daily_oversold as (

    select
        day,
        sum(change) as newly_oversold
    from oversold_changes
    group by day

),

-- Each day's own, and what has come together by its end.
daily as (

    select
        days.day,
        coalesce(figures.new_users, 0) as new_users,
        sum(coalesce(figures.new_users, 0)) over (order by days.day) as users,
        coalesce(figures.orders, 0) as orders,
        coalesce(figures.revenue, 0) as revenue,
        coalesce(figures.paid, 0) as paid,
        coalesce(figures.units, 0) as units,
        coalesce(figures.sessions, 0) as sessions,
        coalesce(figures.converted_sessions, 0) as converted_sessions,
        sum(coalesce(figures.new_buyers, 0)) over (order by days.day) as buyers,
        sum(coalesce(figures.new_repeat_buyers, 0)) over (order by days.day) as repeat_buyers,
        coalesce(figures.delivered_orders, 0) as delivered_orders,
        coalesce(figures.delivery_hours, 0) as delivery_hours,
        coalesce(figures.orders_with_estimate, 0) as orders_with_estimate,
        coalesce(figures.late_orders, 0) as late_orders,
        sum(coalesce(daily_oversold.newly_oversold, 0)) over (order by days.day) as oversold_products
    from days
    left join figures on days.day = figures.day
    left join daily_oversold on days.day = daily_oversold.day

),

told as (

    {% for metric, (numerator, denominator) in metrics.items() -%}
    select
        day,
        '{{ metric }}' as metric,
        cast({{ numerator }} as numeric(16, 2)) as numerator,
        cast({{ denominator or 'null' }} as bigint) as denominator,
        cast({{ numerator }}{{ ' * 1.0 / nullif(' ~ denominator ~ ', 0)' if denominator }} as numeric(16, 4)) as value
    from daily
    {%- if not loop.last %}

    union all

    {% endif -%}
    {% endfor %}

),

final as (

    select
        {{ composite_key(['metric', 'day']) }} as metric_day_id,
        day,
        metric,
        value,
        numerator,
        denominator
    from told

)

select * from final
