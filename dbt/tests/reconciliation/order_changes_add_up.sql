{{ figures_agree({
    'changes of orders': [
        (ref('orders_snapshot'), 'count(dbt_valid_to)', 'order_id'),
        (ref('order_status_changes'), 'count(*)', 'order_id'),
    ],
}) }}
