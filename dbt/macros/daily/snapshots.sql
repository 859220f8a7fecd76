{#
    A snapshot that grows for ever, and what a run looks at of it. `meta.follows_loads` names the raw table
    whose `_loaded_at` it holds as raw has it, so that what was loaded since its newest version is all that can be news, but
    for an item's price, which comes with its product. Like the tests it looks at
    everything where `ops.buffers` asks for it, so that a row that was stamped long before it could be seen is late and not lost.
#}
{% macro is_followed_snapshot(node) %}
    {{ return(node and node.resource_type == 'snapshot' and node.config.meta.follows_loads) }}
{% endmacro %}

{#
    For the snapshot's own query: a filter that leaves what was loaded from a day before the newest version on, and since this
    buffer was last published: on red days a snapshot goes on, and its models see only later what it saw.
#}
{% macro loaded_lately() -%}
    {%- set since = newest_version() -%}
    {%- if since -%}
    where _loaded_at > least(
        cast('{{ since }}' as timestamp with time zone) - interval '1 day',
        cast('{{ watermark(model.config.meta.follows_loads) }}' as timestamp with time zone)
    )
    {%- endif -%}
{%- endmacro %}

{#
    When the snapshot's newest version was loaded; none where all of raw is to be compared, as where a run does not follow the
    table, or the snapshot does not hold its `_loaded_at`.
#}
{% macro newest_version() %}
    {%- if not is_followed_snapshot(model) or scans_all([])
        or not tells_when_loaded(this, model.config.meta.follows_loads) -%}
        {{ return(none) }}
    {%- endif -%}
    {{ return(run_query(
        "select max(_loaded_at)::text as newest from " ~ this ~ " where _loaded_at <= now()"
    ).rows[0].newest) }}
{% endmacro %}

{# dbt compares with all open versions; those of the rows that are asked for will do, unless it looks for what is gone. #}
{% macro postgres__snapshot_staging_table(strategy, source_sql, target_relation) -%}
    {%- set versions = target_relation -%}
    {%- set key = strategy.unique_key -%}
    {%- if strategy.hard_deletes == 'ignore' and key is string and newest_version() -%}
        {%- set asked = "select asked." ~ key ~ " from (" ~ source_sql ~ ") as asked" -%}
        {%- set versions = "(select * from " ~ target_relation ~ " where " ~ key ~ " in (" ~ asked ~ ")) as held" -%}
    {%- endif -%}
    {{ default__snapshot_staging_table(strategy, source_sql, versions) }}
{%- endmacro %}

{# What a test of a part of the versions looks at on ordinary days: a version that is new, and a key that has one. #}
{% macro of_new_versions(relation, where) %}
    {%- set new = new_rows(relation) -%}
    {%- if not new -%}
        {{ return(where) }}
    {%- elif model.test_metadata.name != 'unique' -%}
        {{ return('(' ~ where ~ ') and ' ~ new) }}
    {%- endif -%}
    {%- set key = model.test_metadata.kwargs.column_name -%}
    {{ return('(' ~ where ~ ') and ' ~ key ~ ' in (select ' ~ key ~ ' from ' ~ relation ~ ' where ' ~ new ~ ')') }}
{% endmacro %}

{# An index by each of the columns, of a table that is there for years, and mostly before anybody thought of the index. #}
{% macro index_versions(columns) %}
    {{ return(adapter.dispatch('index_versions')(columns)) }}
{% endmacro %}

{% macro default__index_versions(columns) %}
{% endmacro %}

{% macro postgres__index_versions(columns) %}
    {%- if execute -%}
        {%- set there = run_query(
            "select attname from pg_index join pg_attribute on attrelid = indrelid and attnum = indkey[0]"
            ~ " where indrelid = to_regclass('" ~ this ~ "') and indnkeyatts = 1 and indpred is null and indisvalid"
        ).columns[0].values() -%}
        {%- for column in columns if column not in there %}
            {#- Postgres would cut a long name off, and take two of one beginning for the same. -#}
            {%- set name = this.identifier ~ '_by_' ~ column -%}
            {%- set name = name if name | length <= 63 else name[:54] ~ '_' ~ local_md5(name)[:8] %}
            create index {{ adapter.quote(name) }} on {{ this }} ({{ adapter.quote(column) }});
            {%- if loop.last %}
            analyze {{ this }};
            {%- endif -%}
        {%- endfor %}
    {%- endif -%}
{% endmacro %}

{#
    For a snapshot's pre-hook: who takes the same snapshot meanwhile waits until this transaction ends, and then finds nothing
    new. Two at once, a task that was given up and its retry, would both write the same changes, which can't be mended.
#}
{% macro one_at_a_time() %}
    {{ return(adapter.dispatch('one_at_a_time')()) }}
{% endmacro %}

{% macro default__one_at_a_time() %}
{% endmacro %}

{% macro postgres__one_at_a_time() %}
    select pg_advisory_xact_lock(hashtext('{{ this }}'))
{% endmacro %}
