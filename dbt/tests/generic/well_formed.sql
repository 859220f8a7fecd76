{#
    Text that is what it is for, and money in whole cents. `columns` maps each column to its kind: text, code, email, phone, url or
    money (fault_of says what is wrong with each). `key` names the rows.

    A warning, since people type such text, and what they type must not be able to hold a publish. A row shows what the text of a
    personal column looks like, and not the text.
#}
{% test well_formed(model, columns, key) %}

{{ config(severity='warn', meta={'hides_personal': true, 'names_faults': true}) }}
{%- set declared = (node_of(model) or {}).columns or {} %}
with

looked_at as (

    select
        {{ key }}
        {%- for column, kind in columns.items() %},
        {{ fault_of(column, kind) | indent(4) }} as fault_{{ loop.index }},
        {{ looks_of(column) if is_personal(declared[column]) else as_text(column) }} as found_{{ loop.index }}
        {%- endfor %}
    from {{ only_newest(model) }}

)

select
    looked_at.{{ key }},
    told.column_name,
    told.fault,
    told.found
from looked_at
cross join lateral (
    values
    {%- for column in columns %}
    ('{{ column }}', fault_{{ loop.index }}, found_{{ loop.index }}){{ ',' if not loop.last }}
    {%- endfor %}
) as told (column_name, fault, found)
where
    told.fault is not null
    -- Asked for again, so that only rows with a fault are taken apart: that is what takes long.
    and (
        {%- for column in columns %}
        {{ 'or ' if not loop.first }}fault_{{ loop.index }} is not null
        {%- endfor %}
    )

{% endtest %}
