{#
    An expression that is true of most new rows. Where it is not true of a row, `holds` tells so as a warning; where it is not true
    of most, the figures made of them are wrong, and nobody may get these. `by` judges the rows of each of its values by themselves;
    `weight` is an amount that counts in place of a row. Fewer than ten rows are not judged: one of them would be too many.
#}
{% test holds_for_most(model, expression, by=none, weight=1) %}

{%- set is_not = 'not coalesce(' ~ expression ~ ', false)' %}
select
    {%- if by %}
    {{ by }},
    {%- endif %}
    count(*) as looked_at,
    {{ count_if(is_not) }} as not_so
from {{ only_new(model) }}
{%- if by %}
group by {{ by }}
{%- endif %}
having
    count(*) >= 10
    and sum(case when {{ is_not }} then {{ weight }} else 0 end) * 2 > sum({{ weight }})

{% endtest %}
