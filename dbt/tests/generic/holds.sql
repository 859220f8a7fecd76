{# An expression that is true of every row; unknown counts as false. `key` names the rows where it is not. #}
{% test holds(model, expression, key) %}

select {{ key }}
from {{ only_newest(model) }}
where not coalesce({{ expression }}, false)

{% endtest %}
