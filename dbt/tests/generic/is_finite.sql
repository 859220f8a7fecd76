{#
    A number that can be added up: neither NaN nor infinite, which pass every comparison that asks for a fault, nor a billion or
    more, with which dbt's database would stop at some model that has no word of the row. `key` names the rows.
#}
{% test is_finite(model, column_name, key) %}

select
    {{ key }},
    {{ column_name }}
from {{ only_new(model) }}
where {{ column_name }} is not null and {{ finite(column_name) }} is null

{% endtest %}
