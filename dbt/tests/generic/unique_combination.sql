{# A key of several columns, for a table that has no column of its own for it. #}
{% test unique_combination(model, columns) %}

select
    {{ composite_key(columns) }} as unique_field,
    count(*) as n_records
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1

{% endtest %}
