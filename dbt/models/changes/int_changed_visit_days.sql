{%- set follows = former('product_funnel_daily') is not none -%}
with

changed_events as (

    select * from {{ ref('int_changed_events') }}

),

events as (

    select * from {{ ref('int_events') }}
    where session_id in (select session_id from {{ ref('int_changed_sessions') }})

),

-- A session begins with one of its events, and began with one that is still there or is listed as it was.
concerned as (

    select cast(created_at as date) as day
    from changed_events

    union distinct

    select cast(created_at as date) as day
    from events

),

final as (

    select day
    from concerned
    where day is not null{{ '' if follows else ' and false' }}

)

select * from final
