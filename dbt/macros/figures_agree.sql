{#
    A test that several relations tell the same figure. `figures` maps a figure's name to tellers: a relation, the expression
    that sums the figure up there, and what the key is there by which the figure can be summed up in parts; several expressions
    where the key has several columns. A figure on which they disagree is returned with what each of them says.

    On ordinary days the figure is summed up over the keys that changed in any of them: the figures of the other keys agreed
    before, and nothing touched them since. Relations that share no key are summed up over all of history every day. A row
    without a key is among no changed ones, so keys are tested for nulls.
#}
{% macro figures_agree(figures) %}
{%- set all_rows = scans_all(model.depends_on.nodes) %}
{%- set known = {} %}
with

told as (

    {% for figure, tellers in figures.items() -%}
    {%- set changed = [] -%}
    {%- for teller in tellers if teller[2] and not all_rows -%}
        {%- set asked = teller[0] ~ teller[2] -%}
        {%- if asked not in known -%}
            {%- do known.update({asked: changed_keys(teller[0], teller[2])}) -%}
        {%- endif -%}
        {%- do changed.append(known[asked]) -%}
    {%- endfor -%}
    {%- set changed = changed | select | join('\n union ') -%}
    {%- set outer = loop -%}
    {%- for teller in tellers -%}
    select
        '{{ figure }}' as figure,
        '{{ teller[0].identifier }}' as told_by,
        cast(coalesce({{ teller[1] }}, 0) as numeric(24, 2)) as amount
    from {{ teller[0] }}
    {%- if changed %}
    where ({{ as_list(teller[2]) | join(', ') }}) in ({{ changed }})
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

{# SQL for the keys that changed in a relation that the test reads; none where it is built as a whole in each run. #}
{% macro changed_keys(relation, key) %}
    {%- set node = node_of(relation) -%}
    {%- if takes_changes(node) or raw_table_of(node) and node.resource_type != 'snapshot' -%}
        {{ return(changed_values(node, as_list(key)) | trim) }}
    {%- endif -%}
    {%- set new = new_rows(relation) -%}
    {{ return('select ' ~ as_list(key) | join(', ') ~ ' from ' ~ relation ~ ' where ' ~ new if new else none) }}
{% endmacro %}

{% macro as_list(key) %}
    {{ return([key] if key is string else key) }}
{% endmacro %}
