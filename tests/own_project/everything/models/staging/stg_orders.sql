select order_id, note, _loaded_at from {{ source('followed', 'orders') }}
