{#- New is here what was loaded lately, and for the mart what a run saw lately: neither hides what the other misses. -#}
{%- set versions = ref('orders_snapshot') -%}
{%- set changed = ref('int_changed_order_history') -%}
{%- set new = new_rows(versions) -%}
{%- set of_orders -%}
order_id in (
    select order_id from {{ versions }} where {{ new }}
    union
    select order_id from {{ changed }}
)
{%- endset -%}
{{ figures_agree({
    'changes of orders': [
        (versions, 'count(dbt_valid_to)', of_orders if new),
        (ref('order_status_changes'), 'count(*)', of_orders if new),
    ],
}) }}
