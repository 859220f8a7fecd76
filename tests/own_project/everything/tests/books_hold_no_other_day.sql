select sold_on from {{ ref('ledger') }}
except
select day from {{ ref('days') }}
