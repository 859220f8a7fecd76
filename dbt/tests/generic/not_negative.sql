{% test not_negative(model, column_name) %}

select
    {{ column_name }} as value_field,
    count(*) as n_records
from {{ only_new(model) }}
where {{ column_name }} < 0
group by {{ column_name }}

{% endtest %}
