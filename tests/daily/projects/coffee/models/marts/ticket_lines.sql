with

lines as (select * from {{ ref('stg_lines') }}),

tickets as (select * from {{ ref('stg_tickets') }}),

goods as (select * from {{ ref('stg_goods') }})

select
    lines.line_id,
    lines.ticket_id,
    lines.good_id,
    tickets.sold_at,
    goods.is_drink,
    goods.price
from lines
left join tickets on lines.ticket_id = tickets.ticket_id
left join goods on lines.good_id = goods.good_id
