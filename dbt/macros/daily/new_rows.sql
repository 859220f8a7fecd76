{#
    What tests look at. A table that grows for ever is not read as a whole every day: on ordinary days its tests look at the
    rows that are new since this buffer was built the last time. All of history is read once a week, by each test in its
    turn (`its_turn`), where `ops.buffers` asks for it (when the project changes, everything is rebuilt, or somebody has let
    a failed test through), where the model itself was built in full, where a test lets rows through that it finds, where
    nothing says which rows are new, and where `ops` says nothing. Anywhere else, the old rows have passed this very test.

    What looks at each row by itself can be asked of new rows alone: of dbt's own tests those named here; one of the project's
    own says so by `only_new`.
#}
{% macro get_where_subquery(relation) %}
    {%- set where = config.get('where') -%}
    {%- set test = model.test_metadata or {} -%}
    {%- if not where and not test.namespace and test.name in ['accepted_values', 'not_null'] -%}
        {%- set where = new_rows(relation) -%}
    {%- elif where and test.name in ['accepted_values', 'not_null', 'unique'] and is_followed_snapshot(node_of(relation)) -%}
        {%- set where = of_new_versions(relation, where) -%}
    {%- endif -%}
    {{ return('(select * from ' ~ relation ~ ' where ' ~ where ~ ') dbt_subquery' if where else relation) }}
{% endmacro %}

{# For a generic test that looks at each row by itself: what it is to read of its model. #}
{% macro only_new(relation) %}
    {%- set new = new_rows(relation) -%}
    {{ return('(select * from ' ~ relation ~ ' where ' ~ new ~ ') as new_rows' if new else relation) }}
{% endmacro %}

{#
    The same for a test that lets rows through, which would read all of a raw table every day: the newest rows by their stamp, so
    that what it finds is said again until it is mended or until so many rows have come after it.
#}
{% macro only_newest(relation, rows=20000) %}
    {%- set node = node_of(relation) -%}
    {%- if node and lets_rows_through() and raw_table_of(node) and has_columns([(relation, '_loaded_at')]) -%}
        {{ return('(select * from ' ~ relation ~ ' order by _loaded_at desc limit ' ~ rows ~ ') as newest_rows') }}
    {%- endif -%}
    {{ return(only_new(relation)) }}
{% endmacro %}

{# The condition under which a row of a relation is new, as SQL; none where all rows are to be looked at. #}
{% macro new_rows(relation) %}
    {%- set node = node_of(relation) -%}
    {%- if not node or lets_rows_through() or not remembers_buffers() -%}
        {{ return(none) }}
    {%- endif -%}
    {%- if takes_changes(node) -%}
        {{ return(none if scans_all([node.unique_id]) else in_changed(node)) }}
    {%- endif -%}
    {%- set table = raw_table_of(node) -%}
    {%- if not table or scans_all([]) or not tells_when_loaded(relation, table) -%}
        {{ return(none) }}
    {%- endif -%}
    {{ return(is_new(table) | trim) }}
{% endmacro %}

{#
    Whether the test is one that a run is published with although it finds rows: a warning, or one that measures them by itself.
    It would not be said again the next day if it looked at new rows alone, though nothing was mended.
#}
{% macro lets_rows_through() %}
    {{ return(
        config.get('severity', 'error') | lower != 'error'
        or config.get('error_if', '!= 0') != '!= 0'
        or config.get('fail_calc', 'count(*)') != 'count(*)'
    ) }}
{% endmacro %}

{# That a key is among those which changed in a mart that is built by changes. #}
{% macro in_changed(node, column=none) %}
    {%- set key = node.config.meta.key -%}
    {{ return((column or key) ~ ' in (select ' ~ key ~ ' from ' ~ changes_of(node) ~ ')') }}
{% endmacro %}

{# The node of a relation that a test reads: a model, snapshot or source; none for anything else, and while dbt parses. #}
{% macro node_of(relation) %}
    {%- if execute and relation is not string -%}
        {%- for id in model.depends_on.nodes -%}
            {%- set node = node_by_id(id) -%}
            {%- if node and node.relation_name == relation.render() -%}
                {{ return(node) }}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(none) }}
{% endmacro %}

{# The raw table that a source is, that a staging view shows or a snapshot follows; none for other nodes. #}
{% macro raw_table_of(node) %}
    {%- if node.resource_type == 'source' -%}
        {{ return(node.identifier if node.schema == raw_schema() else none) }}
    {%- elif is_followed_snapshot(node) -%}
        {{ return(node.config.meta.follows_loads) }}
    {%- endif -%}
    {%- set parents = node.depends_on.nodes or [] -%}
    {%- if node.config.materialized == 'view' and parents | length == 1 and parents[0] in graph.sources -%}
        {{ return(raw_table_of(node_by_id(parents[0]))) }}
    {%- endif -%}
    {{ return(none) }}
{% endmacro %}

{#
    Whether a relation says of each of its rows when raw's row was loaded, and this buffer follows that raw table: it has a
    `_loaded_at`, and a view of it only renames and casts. Postgres itself tells such a view from one that joins, groups or
    counts, in which an old row can become another: it could be written through. Nor may it look at the clock.
#}
{% macro tells_when_loaded(relation, table) %}
    {{ return(run_query(
        "select exists (select from " ~ in_ops('watermarks') ~ " where source = '" ~ table ~ "'"
        ~ " and schema_oid = to_regnamespace('" ~ target.schema ~ "')::oid)"
        ~ " and pg_relation_is_updatable(oid, true) <> 0"
        ~ " and coalesce(pg_get_viewdef(oid), '') !~* '(now|timestamp|random|timeofday)\\(\\)|current_(date|time)|localtime'"
        ~ " and exists (select from pg_attribute where attrelid = oid and attname = '_loaded_at' and not attisdropped) as told"
        ~ " from (select to_regclass('" ~ relation ~ "')) as relation (oid)"
    ).rows[0].told) }}
{% endmacro %}

{# Whether relations have columns: pairs of the two as SQL names them. #}
{% macro has_columns(pairs) %}
    {%- set checks = [] -%}
    {%- for relation, column in pairs -%}
        {%- set name = column[1:-1] if column.startswith('"') else column | lower -%}
        {%- do checks.append(
            "exists (select from pg_attribute where attrelid = to_regclass('" ~ relation ~ "')"
            ~ " and attname = '" ~ dbt.escape_single_quotes(name) ~ "' and not attisdropped)"
        ) -%}
    {%- endfor -%}
    {{ return(run_query("select " ~ checks | join(' and ') ~ " as there").rows[0].there) }}
{% endmacro %}

{#
    SQL for whether it is a node's turn to read all of history. Each has a moment of the week, by its name, so that no day has
    to read everything at once; the first run on a buffer after that moment reads, whichever days had no run. `scanned_at`
    is up to when it was the turn of all nodes that have read this buffer.
#}
{% macro its_turn() -%}
    {%- set week = 7 * 24 * 3600 -%}
    {%- set moment = local_md5(model.unique_id)[:8] | int(base=16) % week -%}
    floor((extract(epoch from buffers.since) - {{ moment }}) / {{ week }})
    > floor((extract(epoch from buffers.scanned_at) - {{ moment }}) / {{ week }})
{%- endmacro %}

{# Whether a node reads all of history: of raw, or of these models as well. #}
{% macro scans_all(unique_ids) %}
    {%- if not execute or lets_rows_through() or not remembers_buffers() -%}
        {{ return(true) }}
    {%- endif -%}
    {%- set rows = run_query(
        "select buffers.scan or coalesce(" ~ its_turn() ~ ", false) or exists ("
        ~ "select from " ~ in_ops('buffer_models') ~ " as models where models.schema_oid = buffers.schema_oid"
        ~ " and models.rebuilt and models.checksum is not null and models.unique_id in ('" ~ unique_ids | join("', '") ~ "')"
        ~ ") as scans_all from " ~ in_ops('buffers') ~ " where schema_oid = to_regnamespace('" ~ target.schema ~ "')::oid"
    ).rows -%}
    {{ return(rows[0].scans_all if rows else true) }}
{% endmacro %}

{# A new key is compared with all keys, old ones included, through their index. #}
{% macro postgres__test_unique(model, column_name) %}

{%- set new = new_rows(model) %}
select
    {{ column_name }} as unique_field,
    count(*) as n_records
from {{ model }}
where {{ column_name }} is not null
    {%- if new %}
    and {{ column_name }} in (select {{ column_name }} from {{ model }} where {{ new }})
    {%- endif %}
group by {{ column_name }}
having count(*) > 1

{% endmacro %}

{#
    A new row needs its parent, and so does an old row whose parent is among those that changed, which includes those that are
    gone. Parents are looked up one by one through their index, which a plan for all rows would not do.
#}
{% macro postgres__test_relationships(model, column_name, to, field) %}

{%- set new = new_rows(model) %}
{%- set parent = node_of(to) %}
{%- if not new or may_have_lost_rows(parent, field) %}
{{ default__test_relationships(model, column_name, to, field) }}
{%- else %}
with child as (
    select {{ column_name }} as from_field
    from {{ model }}
    where {{ column_name }} is not null and {{ new }}
    {%- if takes_changes(parent) and parent.config.meta.key == field %}

    union distinct

    select {{ column_name }} as from_field
    from {{ model }}
    where {{ in_changed(parent, column_name) }}
    {%- endif %}
)

select child.from_field
from (select distinct from_field from child) as child
left join lateral (
    select 1 as found
    from {{ to }} as parent
    where parent.{{ field }} = child.from_field
    limit 1
) as parent on true
where parent.found is null
{%- endif %}

{% endmacro %}

{#
    Whether a parent may have lost rows that nobody lists by this field: it was built in full, raw rows were deleted since, or it
    is built from a staging view every day and leaves out some of the view's keys. Of one that dbt builds by increments of
    its own, or from a view that calls the field otherwise, nobody knows.
#}
{% macro may_have_lost_rows(node, field) %}
    {%- if not node -%}
        {{ return(true) }}
    {%- elif node.resource_type == 'snapshot' -%}
        {{ return(false) }}
    {%- elif takes_changes(node) -%}
        {{ return(node.config.meta.key != field or scans_all([node.unique_id])) }}
    {%- elif node.config.materialized == 'incremental' -%}
        {{ return(true) }}
    {%- endif -%}
    {%- set origins = [node] if raw_table_of(node) else [] -%}
    {%- set parents = [] if origins else node.depends_on.nodes or [] -%}
    {%- for id in parents if id in graph.nodes and raw_table_of(node_by_id(id)) -%}
        {%- do origins.append(node_by_id(id)) -%}
    {%- endfor -%}
    {%- if origins | length != 1
        or not tells_when_loaded(origins[0].relation_name, raw_table_of(origins[0]))
        or not has_columns([
            (node.relation_name, field), (origins[0].relation_name, field), (raw_table('deletions'), 'deleted_at')
        ]) -%}
        {{ return(true) }}
    {%- endif -%}
    {%- set lost = "exists (select from " ~ raw_table('deletions')
        ~ " where table_name = '" ~ raw_table_of(origins[0]) ~ "' and " ~ is_new('deletions', 'deleted_at') ~ ")" -%}
    {%- if origins[0] is not sameas node -%}
        {%- set lost = lost ~ " or exists (select " ~ field ~ " from " ~ origins[0].relation_name
            ~ " except select " ~ field ~ " from " ~ node.relation_name ~ ")" -%}
    {%- endif -%}
    {{ return(run_query("select " ~ lost ~ " as lost").rows[0].lost) }}
{% endmacro %}
