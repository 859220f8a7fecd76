select
    session_id,
    count(distinct user_id) as users
from {{ ref('int_events') }}
{%- set changes = ref('int_changed_events') %}
{%- if not scans_all(model.depends_on.nodes) %}
where session_id in (select session_id from {{ changes }})
{%- endif %}
group by session_id
having count(distinct user_id) > 1
