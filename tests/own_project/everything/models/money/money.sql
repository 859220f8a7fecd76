select sum(cents) as cents from {{ ref('takings') }}
