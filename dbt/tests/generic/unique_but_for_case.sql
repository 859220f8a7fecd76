{#
    A key that differs from every other in more than case and the space around it: one thing may be there under two keys. A
    warning, since some systems make keys in which case tells things apart.
#}
{% test unique_but_for_case(model, column_name) %}

{{ config(severity='warn') }}
{%- set read_alike = 'lower(trim(' ~ column_name ~ '))' %}
select
    {{ read_alike }} as {{ column_name }},
    count(distinct {{ column_name }}) as n_records
from {{ model }}
group by {{ read_alike }}
having count(distinct {{ column_name }}) > 1

{% endtest %}
