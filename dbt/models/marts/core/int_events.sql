{{ config(materialized='incremental', meta={'changed_key': 'event_id', 'changed_in': 'int_changed_events'}) }}
{%- set changes_alone = changes_alone('int_changed_events') %}
select
    event_id,
    session_id,
    user_id,
    order_id,
    product_id,
    event_type,
    created_at
from {{ ref('int_changed_events') if changes_alone else ref('stg_greenery__events') }}
{%- if changes_alone %}
where is_present
{%- endif %}
