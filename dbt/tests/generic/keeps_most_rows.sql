{#
    A raw table that has at least half as many rows as when people last got a publish: a broken extract would be followed as
    deletions. A run counts the rows once, as it begins (`include/daily/rows_of_raw.py`), so that the test reads two counts.
    A table that had fewer than two hundred is not judged: that many somebody may well delete.
#}
{% test keeps_most_rows(model) %}

{%- if execute and relation_exists(in_ops('rows_of_raw')) %}
select
    now.rows as rows_now,
    former.rows as rows_before
from {{ in_ops('rows_of_raw') }} as now
inner join {{ rows_as_published(model) }} as former on now.table_name = former.table_name
where now.publication_id is null and former.rows >= 200 and now.rows * 2 < former.rows
{%- else %}
select 0 as rows_now where 1 = 0
{%- endif %}

{% endtest %}
