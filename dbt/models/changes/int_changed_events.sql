{%- set events = ref('stg_greenery__events') -%}
{%- set deletions = source('loading', 'deletions') -%}
{%- set former_events = former('int_events') -%}
{%- set columns = ['event_id', 'session_id', 'user_id', 'order_id', 'product_id', 'event_type', 'created_at'] | join(', ') -%}
with

changed_ids as (

    {% if former_events -%}
    {{ changed_keys('events', 'event_id', events, deletions) | indent(4) }}
    {%- else -%}
    select event_id from {{ events }} where false
    {%- endif %}

),

former as (

    select {{ columns }}
    from {{ former_events or events }}
    where event_id in (select event_id from changed_ids)

),

present as (

    select {{ columns }}
    from {{ events }}
    where event_id in (select event_id from changed_ids)

),

-- A row that was loaded again as it was is no change.
vanished as (

    select * from former
    {{ dbt.except() }}
    select * from present

),

appeared as (

    select * from present
    {{ dbt.except() }}
    select * from former

),

final as (

    select
        {{ composite_key(['event_id', "'former'"]) }} as event_version_id,
        false as is_present,
        {{ columns }}
    from vanished

    union all

    select
        {{ composite_key(['event_id', "'present'"]) }} as event_version_id,
        true as is_present,
        {{ columns }}
    from appeared

)

select * from final
