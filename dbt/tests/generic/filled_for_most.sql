{#
    A column that may be null is not null in most new rows of a raw table, where nine of ten had a value when people last got a
    publish: a column that an extract has lost is null in all. By kind of row, as an order gets its tracking number once it is
    shipped. A run looks at the new rows once, as it begins (`include/daily/rows_of_raw.py`, which names the kinds and leaves
    out what are fewer than a hundred).
#}
{% test filled_for_most(model) %}

{{ config(meta={'names_faults': true}) }}
{%- if execute and relation_exists(in_ops('rows_of_raw')) %}
with

looked_at as (

    select
        kinds.kind,
        columns.column_name,
        cast(columns.filled as bigint) as filled,
        cast(kinds.filled ->> '' as bigint) as looked_at,
        cast(former.filled -> kinds.kind ->> columns.column_name as bigint) as filled_before,
        cast(former.filled -> kinds.kind ->> '' as bigint) as looked_at_before
    from {{ in_ops('rows_of_raw') }} as now
    inner join {{ rows_as_published(model) }} as former on now.table_name = former.table_name
    cross join jsonb_each(now.filled) as kinds (kind, filled)
    cross join jsonb_each_text(kinds.filled) as columns (column_name, filled)
    where now.publication_id is null and columns.column_name <> ''

)

select
    column_name,
    'a value in ' || filled || ' of ' || looked_at || ' new rows'
    || case when kind <> '' then ' (' || kind || ')' else '' end as fault,
    filled_before,
    looked_at_before
from looked_at
where filled * 2 < looked_at and filled_before * 10 >= looked_at_before * 9
{%- else %}
select 'none' as column_name where 1 = 0
{%- endif %}

{% endtest %}
