-- What guests have spent is what their tickets say.
select guests.spent, tickets.total
from (select sum(spent) as spent from {{ ref('guests') }}) as guests
cross join (select sum(total) as total from {{ ref('tickets') }}) as tickets
where guests.spent <> tickets.total
