{#
    A test that several relations tell the same figure. `figures` maps a figure's name to pairs of a relation and the
    expression that sums it up there. A figure on which they disagree is returned with what each of them says.
#}
{% macro figures_agree(figures) %}
with

told as (

    {% for figure, tellers in figures.items() -%}
    {%- set outer = loop -%}
    {%- for relation, expression in tellers -%}
    select
        '{{ figure }}' as figure,
        '{{ relation.identifier }}' as told_by,
        cast(coalesce({{ expression }}, 0) as numeric(24, 2)) as amount
    from {{ relation }}
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
