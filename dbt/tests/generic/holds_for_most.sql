{#
    An expression that is true of most new rows, and of most of each `day`. Where it is not true of a row, `holds` tells so as a
    warning; where it is not true of most, the figures made of them are wrong, and nobody may get these. By days, since a bad night is
    one of two that are new in a buffer, and a small part where all of history is looked at. `by` judges the rows of each of its
    values by themselves; `weight` is an amount that counts in place of a row. Fewer than ten rows are not judged: one of them
    would be too many. Nor is a day that was a week old already when this buffer was last published, or is older by a
    week than the newest: nobody can mend it any more. Of rows that did not come for some time, that is by the raw table that
    brings them: `follows`, where the model is none itself.
#}
{% test holds_for_most(model, expression, day, by=none, weight=1, follows=none) %}

{{ config(meta={'expects_description': true}) }}
{%- set by = by ~ ',' if by else '' %}
{%- set node = node_of(model) %}
{%- set table = follows or (raw_table_of(node) if node) %}
{%- set followed = ', ' ~ day_followed_to(table) if execute and remembers_buffers() else '' %}
{%- set is_not = 'not coalesce(' ~ expression ~ ', false)' %}
with days as (
    select
        {{ by }}
        cast({{ day }} as date) as day_of_rows,
        count(*) as looked_at,
        {{ count_if(is_not) }} as not_so,
        sum({{ weight }}) as weight,
        sum(case when {{ is_not }} then {{ weight }} else 0 end) as weight_not_so
    from {{ only_new(model) }}
    group by {{ by }} cast({{ day }} as date)
),

judged as (
    select
        {{ by }}
        day_of_rows,
        sum(looked_at) as looked_at,
        sum(not_so) as not_so,
        sum(weight_not_so) * 2 > sum(weight) as is_most
    from days
    group by {{ by }} grouping sets ((), (day_of_rows))
)

select
    {{ by }}
    day_of_rows,
    looked_at,
    not_so
from judged
where
    looked_at >= 10
    and is_most
    and coalesce(
        day_of_rows > (select {{ dbt.dateadd('day', -7, 'least(max(day_of_rows), current_date' ~ followed ~ ')') }} from days), true
    )

{% endtest %}
