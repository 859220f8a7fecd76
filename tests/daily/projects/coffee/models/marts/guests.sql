with

guests as (select * from {{ ref('stg_guests') }}),

tickets as (select * from {{ ref('tickets') }}),

sums as (

    select
        guest_id,
        count(*) as visits,
        sum(total) as spent
    from tickets
    group by guest_id

)

select
    guests.guest_id,
    guests.guest_name,
    coalesce(sums.visits, 0) as visits,
    coalesce(sums.spent, 0) as spent,
    coalesce(sums.visits, 0) > 1 as is_regular
from guests
left join sums on guests.guest_id = sums.guest_id
