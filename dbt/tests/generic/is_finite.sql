{# A number that is one: NaN and the two infinities pass every comparison that asks for a fault. `key` names the rows. #}
{% test is_finite(model, column_name, key) %}

select
    {{ key }},
    {{ column_name }}
from {{ only_new(model) }}
where {{ column_name }} is not null and {{ finite(column_name) }} is null

{% endtest %}
