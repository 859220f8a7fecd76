{# A table that must not be empty: an emptied file passes every other test. #}
{% test not_empty(model) %}

select 0 as n_records
from (select 1 as one) as nothing
where not exists (select * from {{ model }})

{% endtest %}
