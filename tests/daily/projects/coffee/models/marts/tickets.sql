with

tickets as (select * from {{ ref('stg_tickets') }}),

branches as (select * from {{ ref('branches') }}),

lines as (select * from {{ ref('ticket_lines') }}),

sums as (

    select
        ticket_id,
        count(*) as goods,
        sum(price) as total,
        count(case when is_drink then 1 end) as drinks
    from lines
    group by ticket_id

)

select
    tickets.ticket_id,
    tickets.guest_id,
    tickets.sold_at,
    branches.city,
    coalesce(sums.goods, 0) as goods,
    coalesce(sums.drinks, 0) as drinks,
    coalesce(sums.total, 0) as total,
    row_number() over (partition by tickets.guest_id order by tickets.sold_at, tickets.ticket_id) as visit
from tickets
left join branches on tickets.branch_id = branches.branch_id
left join sums on tickets.ticket_id = sums.ticket_id
