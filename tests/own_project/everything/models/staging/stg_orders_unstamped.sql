select order_id, note from {{ source('followed', 'orders') }}
