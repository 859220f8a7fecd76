select
    session_id,
    count(distinct user_id) as users
from {{ ref('int_events') }}
{%- if not scans_all(model.depends_on.nodes) %}
where session_id in ({{ changed_keys(ref('int_events'), 'session_id') }})
{%- endif %}
group by session_id
having count(distinct user_id) > 1
