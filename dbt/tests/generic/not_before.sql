{# A moment that is not before another one of the same row. `key` names the rows where it is. #}
{% test not_before(model, column_name, moment, key) %}

{{ config(meta={'hides_personal': true}) }}
select
    {{ key }},
    {{ column_name }},
    {{ moment }}
from {{ only_new(model) }}
where {{ by_any_clock(latest(column_name)) }} < {{ moment }}

{% endtest %}
