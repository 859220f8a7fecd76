{{ config(description="Every version of an order that the snapshot closed led to one change of the order.") }}
{{ figures_agree({
    'changes of orders': [
        (ref('orders_snapshot'), 'count(dbt_valid_to)', 'order_id'),
        (ref('order_status_changes'), 'count(*)', 'order_id'),
    ],
}) }}
