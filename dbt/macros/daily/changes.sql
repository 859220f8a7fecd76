{#
    How an incremental model of ours builds what changed, and nothing else (docs/incremental.md teaches it). Its `meta` names

    * `key`: the column by which its rows are replaced, one or several at a time,
    * `follows`: whose changes change it. `of` is a model that it reads; the changed rows of that one hold the key. Where they
      don't: `on` is the column by which their rows are found in this model, or in the model named `in`; `parent_key` is what
      the other model calls it. `rows_where` asks for rows of this model again in every run,
    * `ignores`: what it reads and does not follow, each with the reason.

    Each such model has a table beside it, `<model>__changes` in schema `staging`: the rows that this run took from it
    (`is_present` is false) and gave to it. What reads the model follows that.
#}
{% macro takes_changes(node) %}
    {%- set config = node.config -%}
    {{ return(
        config.materialized == 'incremental' and config.incremental_strategy == 'replace_changed'
        and config.meta.key and config.meta.follows
    ) }}
{% endmacro %}

{#
    For an import of such a model: only the rows of the keys that may have changed. `key` is what holds the key there, a column or an
    expression of one, where that is called otherwise.
#}
{% macro only_changed(key=none) -%}
    {%- if is_incremental() -%}
    where {{ key or model.config.meta.key }} in (select {{ model.config.meta.key }} from {{ keys_to_build() }})
    {%- endif -%}
{%- endmacro %}

{# The keys that may have changed: a temporary table of this connection. #}
{% macro keys_to_build() %}
    {{ return(adapter.quote(model.alias ~ '__keys')) }}
{% endmacro %}

{# Fill it. #}
{% macro collect_keys() %}
    {%- call statement('keys', auto_begin=true) -%}
        drop table if exists {{ keys_to_build() }};
        create temporary table {{ keys_to_build() }} as
        {{ keys_asked_for() }};
        analyze {{ keys_to_build() }};
    {%- endcall -%}
{% endmacro %}

{# What all entries of `follows` ask for. #}
{% macro keys_asked_for() %}
    {%- set key = model.config.meta.key %}
        select {{ key }}
        from (
            {%- for followed in model.config.meta.follows %}
            {{ keys_of(followed) }}
            {{ 'union' if not loop.last }}
            {%- endfor %}
        ) as asked
        where {{ key }} is not null
{%- endmacro %}

{# The rows that the model holds of these keys. #}
{% macro former_rows(columns='*') -%}
    {%- set key = model.config.meta.key -%}
    select {{ columns }} from {{ this }} where {{ key }} in (select {{ key }} from {{ keys_to_build() }})
{%- endmacro %}

{#
    For a preview, which wants to know what a day reads (include/preview/slow.py) and has made a table for it: what Postgres
    does for what a day asks, and how it would look rows up, were that the only way.
#}
{% macro note_plans(rows) %}
    {%- if target.schema != 'analytics_next' and relation_exists(in_ops('plans')) -%}
        {%- set ways = ['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin'] -%}
        {%- for asked, statement in {'keys': keys_asked_for(), 'rows': rows, 'former rows': former_rows()}.items() -%}
            {%- set done = run_query('explain (analyze, verbose, format json) ' ~ statement).rows[0][0] -%}
            {%- for way in ways -%}{%- do run_query('set ' ~ way ~ ' = off') -%}{%- endfor -%}
            {%- set looked_up = run_query('explain (verbose, format json) ' ~ statement).rows[0][0] -%}
            {%- for way in ways -%}{%- do run_query('reset ' ~ way) -%}{%- endfor -%}
            {%- do run_query(
                "insert into " ~ in_ops('plans') ~ " (unique_id, asked, keys, done, looked_up) select '" ~ model.unique_id ~ "', '"
                ~ asked ~ "', count(*), '" ~ dbt.escape_single_quotes(done) ~ "', '" ~ dbt.escape_single_quotes(looked_up)
                ~ "' from " ~ keys_to_build()
            ) -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}

{# The keys that one entry of `follows` asks for. #}
{% macro keys_of(followed) -%}
    {%- set key = model.config.meta.key -%}
    {%- if followed.rows_where -%}
    select {{ key }} from {{ this }} where {{ followed.rows_where }}
    {%- elif followed.on -%}
    {%- set searched = node_named(followed['in']).relation_name if followed['in'] else this -%}
    {%- set held = 'select ' ~ followed.on ~ ' from ' ~ searched -%}
    select {{ key }}
    from {{ searched }}
    where {{ followed.on }} in ({{ changed_values(node_named(followed.of), followed.parent_key or followed.on, held=held) }})
    {%- else -%}
    {{ changed_values(node_named(followed.of), followed.parent_key or key, key, held='select ' ~ key ~ ' from ' ~ this) }}
    {%- endif -%}
{%- endmacro %}

{# A model, snapshot or source table (`source.table`) of what the present node reads. #}
{% macro node_named(name) %}
    {%- for id in model.depends_on.nodes -%}
        {%- set node = node_by_id(id) -%}
        {%- if node and name in [node.name, node.source_name ~ '.' ~ node.name] -%}
            {{ return(node) }}
        {%- endif -%}
    {%- endfor -%}
    {{ exceptions.raise_compiler_error(
        model.name ~ " follows " ~ name ~ ", and does not read it. Name a model that it reads, or delete the entry of `follows`."
    ) }}
{% endmacro %}

{#
    SQL for the values that an expression has, or had, in the rows of a node that changed since this buffer was published. It
    fails for a node of which nothing says which rows these are. A raw table's deletions hold its key alone. `held` selects
    such values as they are held already: a version that a snapshot had may be gone.
#}
{% macro changed_values(node, expression, name=none, held=none) -%}
    {%- set selected = expression ~ (' as ' ~ name if name and name != expression else '') -%}
    {%- set table = raw_table_of(node) -%}
    {%- if takes_changes(node) -%}
        {%- set built = noted_of(node.unique_id) -%}
        select {{ selected }} from {{ changes_of(node) }}{{ '' if built and built.built_in_this_run else ' where false' }}
    {%- elif node.resource_type == 'snapshot' -%}
        {%- set since = untaken_since(model.name) if is_dated_by_runs(node) else none -%}
        select {{ selected }} from {{ node.relation_name }}
        {%- if since %} where dbt_valid_from > cast('{{ since }}' as timestamp)
            {%- if closes_what_is_gone(node) %} or dbt_valid_to > cast('{{ since }}' as timestamp){% endif %}
        {%- else %} union {{ held }}
        {%- endif -%}
    {%- elif table -%}
        select {{ selected }} from {{ node.relation_name }} where {{ is_new(table) }}
        {#- What the view leaves out now, and may have shown before. #}
        {%- if node.resource_type != 'source' and has_columns([(source_of(node).relation_name, expression)]) %}
        union
        select cast({{ expression }} as {{ dbt.type_string() }}) from {{ source_of(node).relation_name }} where {{ is_new(table) }}
        {%- endif %}
        union
        select key from {{ raw_table('deletions') }} where table_name = '{{ table }}' and {{ is_new('deletions', 'deleted_at') }}
    {%- else -%}
        {{ exceptions.raise_compiler_error(
            model.name ~ " can't follow " ~ node.name ~ ": that is built as a whole in each run, and nothing tells what changed in "
            ~ "it. Build " ~ model.name ~ " as a table, or let " ~ node.name ~ " follow what it reads."
        ) }}
    {%- endif -%}
{%- endmacro %}

{# The source table that a staging view shows. #}
{% macro source_of(view) %}
    {{ return(node_by_id(view.depends_on.nodes[0])) }}
{% endmacro %}

{# Whether the versions of a snapshot are dated by the runs that saw them; else one that is new may be dated long ago. #}
{% macro is_dated_by_runs(snapshot) %}
    {{ return(snapshot.config.strategy == 'check' and not snapshot.config.updated_at) }}
{% endmacro %}

{# Whether a snapshot ends the version of a row that is gone, and begins no other. #}
{% macro closes_what_is_gone(snapshot) %}
    {{ return(snapshot.config.hard_deletes == 'invalidate' or snapshot.config.invalidate_hard_deletes) }}
{% endmacro %}

{# Where the changes of a model are written. #}
{% macro changes_of(node) %}
    {{ return(adapter.quote(beside_target('staging')) ~ '.' ~ adapter.quote(node.alias ~ '__changes')) }}
{% endmacro %}

{# An empty table of changes for a model that is built; what an earlier attempt of this run wrote to it stays. #}
{% macro empty_changes() %}
    drop table if exists {{ changes_of(model) }};
    create table {{ changes_of(model) }} as
    select
        false as is_present,
        *
    from {{ this }}
    with no data;
{% endmacro %}

{#
    The incremental strategy of the marts. Of the keys that may have changed, those really did of which a row is otherwise than
    in the buffer, one more or one less. Their rows are written to the table of changes, as they were and as they are, and
    replaced.
#}
{% macro get_incremental_replace_changed_sql(arg_dict) %}
    {%- if not takes_changes(model) -%}
        {{ return(get_incremental_default_sql(arg_dict)) }}
    {%- endif -%}
    {%- set key = model.config.meta.key -%}
    {%- set target = arg_dict['target_relation'] -%}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    {%- set typed = [] -%}
    {%- for column in arg_dict['dest_columns'] -%}
        {%- do typed.append('cast(' ~ adapter.quote(column.name) ~ ' as ' ~ column.data_type ~ ') as ' ~ adapter.quote(column.name)) -%}
    {%- endfor -%}
    {%- set former = former_rows(columns) -%}
    {%- set present = 'select ' ~ typed | join(', ') ~ ' from ' ~ arg_dict['temp_relation'] -%}
    {%- set changed = adapter.quote(model.alias ~ '__changed') -%}
    {%- set noted = noted_of(model.unique_id) -%}
    {%- if not (noted and noted.built_in_this_run) %}
    {{ empty_changes() }}
    {%- endif %}
    drop table if exists {{ changed }};
    create temporary table {{ changed }} as
    select false as is_present, gone.* from ({{ former }} except all {{ present }}) as gone
    union all
    select true as is_present, new.* from ({{ present }} except all {{ former }}) as new;
    analyze {{ changed }};

    insert into {{ changes_of(model) }} (is_present, {{ columns }})
    select is_present, {{ columns }} from {{ changed }};
    analyze {{ changes_of(model) }};

    delete from {{ target }}
    where {{ key }} in (select {{ key }} from {{ changed }});

    insert into {{ target }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict['temp_relation'] }}
    where {{ key }} in (select {{ key }} from {{ changed }})
{% endmacro %}

{# The condition that a row of a raw table is new or changed, as far as this buffer is concerned. #}
{% macro is_new(table, column='_loaded_at') -%}
    {{ column }} > cast('{{ watermark(table) }}' as timestamp with time zone)
{%- endmacro %}

{#
    Up to when this buffer has followed a raw table: a literal, so that the planner sees how few rows are newer. All rows are
    newer of a table that no run follows.
#}
{% macro watermark(table) %}
    {%- if not execute -%}
        {{ return('infinity') }}
    {%- endif -%}
    {%- set rows = run_query(
        "select loaded_at::text as loaded_at from " ~ in_ops('watermarks') ~ " where source = '" ~ table ~ "'"
        ~ " and schema_oid = to_regnamespace('" ~ target.schema ~ "')::oid"
    ).rows -%}
    {{ return(rows[0].loaded_at if rows else '-infinity') }}
{% endmacro %}

{# SQL for the day up to which this buffer had followed a raw table, or any, when it was last published; null where it never was. #}
{% macro day_followed_to(table) -%}
    (
        select cast(max(loaded_at) at time zone 'UTC' as date)
        from {{ in_ops('watermarks') }}
        where schema_oid = to_regnamespace('{{ target.schema }}')::oid and loaded_at > '-infinity'
            {%- if table %} and source = '{{ table }}'{% endif %}
    )
{%- endmacro %}

{#
    From when on a version of a snapshot can be one that a model has not taken into this buffer yet, in UTC: a day before it was last
    built there, since clocks are set back. None (look at all versions) in its weekly turn, and where that build is dated ahead of
    the clock.
#}
{% macro untaken_since(name) %}
    {%- if scans_all([]) -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set rows = run_query(
        "select (built_at at time zone 'UTC' - interval '1 day')::text as since from " ~ in_ops('buffer_models')
        ~ " where unique_id = 'model." ~ project_name ~ "." ~ name ~ "' and built_at < now()"
        ~ " and schema_oid = to_regnamespace('" ~ target.schema ~ "')::oid"
    ).rows -%}
    {{ return(rows[0].since if rows else none) }}
{% endmacro %}
