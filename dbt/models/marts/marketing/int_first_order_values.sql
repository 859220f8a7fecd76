{{ config(
    materialized='incremental',
    meta={'changed_key': 'ordered_on', 'changed_in': 'int_changed_first_order_days'}
) }}
{%- set came_back = only_changed('ordered_on', 'int_changed_first_order_days', 'cast(ordered_at as date)') %}
with

buyers as (

    {{ first_order_values(came_back) | indent(4) }}

),

-- A return counts from the least of the numbers of days within which it came.
dated as (

    select
        indicator,
        value,
        cast(ordered_at as date) as ordered_on,
        cast(since as date) as since_on,
        case
            {%- for days in var('come_back_days') | sort %}
            when came_back_at <= {{ dbt.dateadd('day', days, 'since') }} then {{ days }}
            {%- endfor %}
        end as came_back_within
    from buyers

),

counted as (

    select
        ordered_on,
        indicator,
        value,
        since_on,
        came_back_within,
        count(*) as buyers
    from dated
    group by ordered_on, indicator, value, since_on, came_back_within

),

final as (

    select
        {{ composite_key([
            'ordered_on',
            'indicator',
            'value',
            "coalesce(cast(since_on as " ~ dbt.type_string() ~ "), 'not yet')",
            "coalesce(cast(came_back_within as " ~ dbt.type_string() ~ "), 'not')",
        ]) }} as first_order_value_id,
        ordered_on,
        indicator,
        value,
        since_on,
        came_back_within,
        buyers
    from counted

)

select * from final
