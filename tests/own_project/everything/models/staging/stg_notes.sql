select note, count(*) as orders, min(_loaded_at) as _loaded_at from {{ source('followed', 'orders') }} group by 1
