select
    session_id,
    count(distinct user_id) as users
from {{ ref('stg_greenery__events') }}
group by session_id
having count(distinct user_id) > 1
