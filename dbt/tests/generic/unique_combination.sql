{# A key of several columns, for a table that has no column of its own for it. #}
{% test unique_combination(model, columns) %}

{%- set key = columns | join(', ') %}
{%- set new = new_rows(model) %}
select
    {{ composite_key(columns) }} as unique_field,
    count(*) as n_records
from {{ model }}
{%- if new %}
where ({{ key }}) in (select {{ key }} from {{ model }} where {{ new }})
{%- endif %}
group by {{ key }}
having count(*) > 1

{% endtest %}
