select 1 as one
where (select coalesce(sum(cents), 0) from {{ ref('ledger') }}) <> (select coalesce(cents, 0) from {{ ref('money') }})
