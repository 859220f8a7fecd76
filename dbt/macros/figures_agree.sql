{#
    A test that several relations have the same figure. `figures` maps a figure's name to where it can be summed up: a relation,
    the expression that sums it up there, and the key there, by which the sum can be taken in parts. A figure on which the
    relations disagree is returned with the amount in each of them.

    On ordinary days only the keys that changed in any of the relations are summed up: the other keys agreed before, and nothing
    touched them since. Relations without a common key are summed up as a whole every day. A row whose key is null is never among
    the changed ones, so keys are tested for nulls.
#}
{% macro figures_agree(figures) %}
{%- set all_rows = scans_all(model.depends_on.nodes) %}
{%- set known = {} %}
{#- By a relation and the keys to look at there: the figures that one scan of it sums up. -#}
{%- set scans = {} %}
{%- for figure, places in figures.items() -%}
    {%- set changed = [] -%}
    {%- for place in places if place[2] and not all_rows -%}
        {%- set keys_of = place[0] ~ place[2] -%}
        {%- if keys_of not in known -%}
            {%- do known.update({keys_of: changed_keys(place[0], place[2])}) -%}
        {%- endif -%}
        {%- do changed.append(known[keys_of]) -%}
    {%- endfor -%}
    {%- if places | selectattr(2) | list | length not in [0, places | length] -%}
        {{ exceptions.raise_compiler_error(
            "'" ~ figure ~ "' in " ~ model.name ~ " has a key in one relation and none in another. Give each relation its key, or none."
        ) }}
    {%- endif -%}
    {%- set changed = '' if 'all' in changed else changed | select | unique | sort | join('\n union ') -%}
    {%- for place in places -%}
        {#- As an array: few keys are expected of it, and looked up by their index. -#}
        {%- set where = place[2] ~ ' = any(array(' ~ changed ~ '))' if changed -%}
        {%- do scans.setdefault((place[0], where), []).append((figure, place[1])) -%}
    {%- endfor -%}
{%- endfor %}
with

sums as (

    {% for (relation, where), summed in scans.items() -%}
    select
        told.figure,
        '{{ relation.identifier }}' as relation,
        cast(coalesce(told.amount, 0) as numeric(24, 2)) as amount
    from (
        select
            {%- for figure, expression in summed %}
            {{ expression }} as figure_{{ loop.index }}{{ ',' if not loop.last }}
            {%- endfor %}
        from {{ relation }}
        {%- if where %}
        where {{ where }}
        {%- endif %}
    ) as summed
    cross join lateral (
        values
        {%- for figure, expression in summed %}
        ('{{ figure }}', cast(figure_{{ loop.index }} as numeric)){{ ',' if not loop.last }}
        {%- endfor %}
    ) as told (figure, amount)
    {%- if not loop.last %}

    union all

    {% endif -%}
    {%- endfor %}

),

compared as (

    select
        figure,
        relation,
        amount,
        min(amount) over (partition by figure) as lowest,
        max(amount) over (partition by figure) as highest
    from sums

)

select
    figure,
    relation,
    amount
from compared
where lowest <> highest
{% endmacro %}

{#
    SQL for the keys that changed in a relation that the test reads; none where it is built as a whole in each run, so that it
    follows from the others, and 'all' for a snapshot of which nothing says what is new.
#}
{% macro changed_keys(relation, key) %}
    {%- set node = node_of(relation) -%}
    {%- if takes_changes(node) or raw_table_of(node) and node.resource_type != 'snapshot' -%}
        {{ return(changed_values(node, key) | trim) }}
    {%- endif -%}
    {%- set new = new_rows(relation) -%}
    {%- if new -%}
        {{ return('select ' ~ key ~ ' from ' ~ relation ~ ' where ' ~ new) }}
    {%- endif -%}
    {{ return('all' if node.resource_type == 'snapshot' else none) }}
{% endmacro %}
