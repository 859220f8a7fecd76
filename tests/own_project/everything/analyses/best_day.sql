select sold_on, sum(cents) from {{ ref('takings') }} group by 1 order by 2 desc limit 1
