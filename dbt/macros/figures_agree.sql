{#
    A test that several relations tell the same figure. `figures` maps a figure's name to tellers: a relation, the expression
    that sums the figure up there, and which rows concern a changed key. A figure on which they disagree is returned with what
    each of them says.

    On ordinary days the tellers of a figure sum up the changed keys alone, if each says which rows these are: the figures of
    the other keys agreed before, and nobody touched them since. Tellers that share no key sum up all of history every day. A row
    without a key is among no changed ones, so keys are tested for nulls.
#}
{% macro figures_agree(figures) %}
{%- set all_rows = scans_all(model.depends_on.nodes) %}
with

told as (

    {% for figure, tellers in figures.items() -%}
    {%- set outer = loop -%}
    {%- for teller in tellers -%}
    select
        '{{ figure }}' as figure,
        '{{ teller[0].identifier }}' as told_by,
        cast(coalesce({{ teller[1] }}, 0) as numeric(24, 2)) as amount
    from {{ teller[0] }}
    {%- if teller[2] and not all_rows %}
    where {{ teller[2] }}
    {%- endif %}
    {%- if not (outer.last and loop.last) %}

    union all

    {% endif -%}
    {%- endfor -%}
    {%- endfor %}

),

compared as (

    select
        figure,
        told_by,
        amount,
        min(amount) over (partition by figure) as lowest,
        max(amount) over (partition by figure) as highest
    from told

)

select
    figure,
    told_by,
    amount
from compared
where lowest <> highest
{% endmacro %}
