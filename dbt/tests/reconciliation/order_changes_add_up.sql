{{ figures_agree({
    'changes of orders': [
        (ref('orders_snapshot'), 'count(dbt_valid_to)'),
        (ref('order_status_changes'), 'count(*)'),
    ],
}) }}
