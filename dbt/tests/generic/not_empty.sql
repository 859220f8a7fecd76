{# A table that must not be empty: an emptied file passes every other test. #}
{% test not_empty(model) %}

select count(*) as n_records
from {{ model }}
having count(*) = 0

{% endtest %}
