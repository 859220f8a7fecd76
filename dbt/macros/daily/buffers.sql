{#
    What `ops` remembers of the schema that is built into (see `include/daily/buffers.py`), and what follows from it.

    dbt's incremental materialization and `is_incremental()` both ask `should_full_refresh()`, which is ours. A model that
    takes changes alone (`takes_changes`) goes on only where the buffer holds what the same code made of an earlier state of
    raw; any other incremental model goes on from what is published (`published.sql`). Without a word in `ops` (dbt by hand,
    on a warehouse of one's own) the first are built in full and the others as dbt builds them.
#}
{% macro should_full_refresh() %}
    {{ return(is_rebuilt()) }}
{% endmacro %}

{#
    dbt looks whether there is a table before it asks, and the table may be brought by the answer. Where nothing is built, as by
    `dbt compile` and `dbt show`, there are no changed keys, and a model that takes changes is shown as it is built in full.
#}
{% macro is_incremental() %}
    {%- do should_full_refresh() -%}
    {{ return(dbt.is_incremental() and (not takes_changes(model) or flags.WHICH in ['build', 'run', 'retry'])) }}
{% endmacro %}

{#
    A node or a source of the project, none where there is none. `graph` makes a dictionary of it at each look, which takes
    milliseconds, so it is kept beside. Threads share that: nothing is ever taken out again.
#}
{% macro node_by_id(unique_id) %}
    {%- set kept = graph.setdefault('kept', {}) -%}
    {%- if unique_id not in kept -%}
        {%- do kept.update({unique_id: graph.nodes.get(unique_id) or graph.sources.get(unique_id)}) -%}
    {%- endif -%}
    {{ return(kept[unique_id]) }}
{% endmacro %}

{#
    Whether the model is built in full in this run. It asks when it is compiled, when it runs and when it has run: the answer is
    the same each time, whatever happened to `ops` meanwhile.
#}
{% macro is_rebuilt() %}
    {%- if not execute -%}
        {{ return(true) }}
    {%- endif -%}
    {%- set decided = graph.setdefault('decided', {}) -%}
    {%- set question = (invocation_id, model.unique_id) -%}
    {%- if question not in decided -%}
        {%- do decided.update({question: decide_whether_rebuilt()}) -%}
    {%- endif -%}
    {{ return(decided[question]) }}
{% endmacro %}

{% macro decide_whether_rebuilt() %}
    {%- set node = node_by_id(model.unique_id) -%}
    {%- if node and node.config.materialized == 'incremental' and not takes_changes(node) -%}
        {{ return(not goes_on_from_published(node)) }}
    {%- elif not node or flags.FULL_REFRESH or node.config.full_refresh -%}
        {{ return(true) }}
    {%- endif -%}
    {%- set noted = noted_of(model.unique_id) -%}
    {%- if noted is none or noted.rebuild or noted.checksum != model_checksum(model.unique_id) -%}
        {{ return(true) }}
    {%- endif -%}
    {{ return(follows_a_rebuilt_one(node)) }}
{% endmacro %}

{# Whether a model follows one that was built in full in this run: such a build says nothing of what it changed. #}
{% macro follows_a_rebuilt_one(node) %}
    {{ return(run_query(
        "select exists (select from " ~ in_ops('buffers') ~ " join " ~ in_ops('buffer_models') ~ " as models using (schema_oid)"
        ~ " where schema_oid = to_regnamespace('" ~ target.schema ~ "')::oid and models.rebuilt and models.checksum is not null"
        ~ " and models.built_at > buffers.since and models.unique_id in ('" ~ node.depends_on.nodes | join("', '") ~ "')) as found"
    ).rows[0].found) }}
{% endmacro %}

{#
    What has to be the same for a table to be continued and not rebuilt: the SQL of the model and of every model that
    it reads, directly or not, their columns and configuration, what they and their sources are called in the database, our
    macros, the environment that any of these ask, and dbt.
#}
{% macro model_checksum(unique_id) %}
    {%- set parts = [dbt_version, macros_hash()] -%}
    {%- set seen = [unique_id] -%}
    {%- for id in seen if node_by_id(id) -%}
        {%- set own, parents = checked_of(id) -%}
        {%- do parts.append(own) -%}
        {%- for parent in parents if parent not in seen -%}
            {%- do seen.append(parent) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(local_md5(parts | join('\n'))) }}
{% endmacro %}

{# What that is of one node, as a text, and the nodes that it reads. Many models ask it of the same node, so it is kept. #}
{% macro checked_of(id) %}
    {%- set kept = graph.setdefault('checked', {}) -%}
    {%- if id not in kept -%}
        {%- set node, parents = node_by_id(id), [] -%}
        {%- set parts = [id ~ node.checksum.checksum ~ node.relation_name] -%}
        {#- What dbt notes there of a batch is not the project's. -#}
        {%- for key, value in node.config | dictsort if not key.startswith('__dbt_internal') -%}
            {%- do parts.append(key ~ value) -%}
        {%- endfor -%}
        {%- for column in node.columns.values() -%}
            {%- do parts.append(column.name ~ column.data_type) -%}
        {%- endfor -%}
        {%- for parent in node.depends_on.nodes | sort -%}
            {%- if parent.startswith('source.') -%}
                {%- do parts.append(parent ~ node_by_id(parent).relation_name) -%}
            {%- else -%}
                {%- do parents.append(parent) -%}
            {%- endif -%}
        {%- endfor -%}
        {%- do kept.update({id: (parts | join('\n'), parents)}) -%}
    {%- endif -%}
    {{ return(kept[id]) }}
{% endmacro %}

{# What `ops` says of a model in the buffer that is built into; none where it knows nothing of the buffer. #}
{% macro noted_of(unique_id) %}
    {{ return(adapter.dispatch('noted_of')(unique_id)) }}
{% endmacro %}

{% macro default__noted_of(unique_id) %}
    {{ return(none) }}
{% endmacro %}

{% macro postgres__noted_of(unique_id) %}
    {%- if not remembers_buffers() -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set rows = run_query(
        "select buffers.rebuild, models.checksum, coalesce(models.built_at > buffers.since, false) as built_in_this_run"
        ~ " from " ~ in_ops('buffers')
        ~ " left join " ~ in_ops('buffer_models') ~ " as models"
        ~ " on models.schema_oid = buffers.schema_oid and models.unique_id = '" ~ unique_id ~ "'"
        ~ " where buffers.schema_oid = to_regnamespace('" ~ target.schema ~ "')::oid"
    ).rows -%}
    {{ return(rows[0] if rows else none) }}
{% endmacro %}

{# The schema of the raw tables that a run follows, and one of them as SQL names it: for what is no child of it in the graph. #}
{% macro raw_schema() %}
    {{ return(env_var('GREENERY_RAW_SCHEMA', 'raw')) }}
{% endmacro %}

{% macro raw_table(name) %}
    {{ return(adapter.quote(raw_schema()) ~ '.' ~ adapter.quote(name)) }}
{% endmacro %}

{# Asked once an invocation. #}
{% macro remembers_buffers() %}
    {%- set asked = graph.setdefault('remembers_buffers', {}) -%}
    {%- if invocation_id not in asked -%}
        {%- do asked.update({invocation_id: relation_exists(in_ops('buffers'))}) -%}
    {%- endif -%}
    {{ return(asked[invocation_id]) }}
{% endmacro %}

{#
    Before a model is built: note and commit that the buffer is no longer as it was published, so that
    whatever becomes of this build, the run that begins on it next rebuilds everything. A view elsewhere holds no rows.
#}
{% macro before_build() %}
    {{ return(adapter.dispatch('before_build')()) }}
{% endmacro %}

{% macro default__before_build() %}
{% endmacro %}

{% macro postgres__before_build() %}
    {%- if execute and (model.config.materialized != 'view' or model.schema == target.schema) and remembers_buffers() -%}
        {%- call statement('mark', auto_begin=true) -%}
            update {{ in_ops('buffers') }} set dirty = true
            where schema_oid = to_regnamespace('{{ target.schema }}')::oid and not dirty
        {%- endcall -%}
        {%- do adapter.commit() -%}
        {#- psycopg2 begins a transaction once, with its first statement: all that is to come would be committed one by one. -#}
        begin
    {%- endif -%}
{% endmacro %}

{#
    After a model was built, in its transaction: look at a table that is new, so that what reads it is planned well, and
    note the build.

    A model that took changes while another run asked for everything to be rebuilt fails, since they may be the wrong ones: the
    next attempt builds it in full.
#}
{% macro after_build() %}
    {%- set rebuilt = model.config.materialized != 'incremental' or is_rebuilt() -%}
    {{ return(adapter.dispatch('after_build')(rebuilt)) }}
{% endmacro %}

{% macro default__after_build(rebuilt) %}
{% endmacro %}

{% macro postgres__after_build(rebuilt) %}
    {%- set goes_on = not rebuilt and takes_changes(model) %}
    {#- `ops` is not asked of dbt's own kind elsewhere: there is one table, and it is not in the buffer. -#}
    {%- set continued = model.config.materialized == 'incremental' and (takes_changes(model) or model.schema == target.schema) %}
    {% if not goes_on and model.config.materialized not in ['view', 'materialized_view'] -%}
    {#- What a sample doesn't show of a long table: how often a value comes again, as a share of the rows. -#}
    {%- for column in model.columns.values() if column.config.meta.distinct_share %}
    alter table {{ this }}
    alter column {{ adapter.quote(column.name) if column.quote else column.name }}
    set (n_distinct = -{{ column.config.meta.distinct_share }});
    {%- endfor %}
    {%- endif %}
    {%- if not goes_on and model.config.materialized != 'view' %}
    analyze {{ this }};
    {%- endif %}
    {% if execute and remembers_buffers() -%}
    {%- set buffer = "to_regnamespace('" ~ target.schema ~ "')::oid" %}
    {%- if goes_on and run_query("select rebuild from " ~ in_ops('buffers') ~ " where schema_oid = " ~ buffer ~ " for share").rows[0].rebuild -%}
        {{ exceptions.raise_compiler_error(
            "While " ~ model.name ~ " took what changed, another run asked for everything to be rebuilt, so nothing of "
            ~ "it was kept. Clear its task with everything downstream of it: it is built in full then."
        ) }}
    {%- endif %}
    {%- if takes_changes(model) and not goes_on and noted_of(model.unique_id) is not none %}
    {{ empty_changes() }}
    {%- endif %}
    {#- Under its former name it is there still, until a publish drops it. #}
    insert into {{ in_ops('buffer_models') }} (schema_oid, unique_id, identifier, rebuilt)
    select schema_oid, unique_id || ' as ' || former.identifier, former.identifier, true
    from {{ in_ops('buffer_models') }}
    cross join lateral (select coalesce(identifier, split_part(unique_id, '.', 3)) as identifier) as former
    where schema_oid = {{ buffer }} and unique_id = '{{ model.unique_id }}' and former.identifier <> '{{ this.identifier }}'
    on conflict (schema_oid, unique_id) do nothing;
    insert into {{ in_ops('buffer_models') }} (schema_oid, unique_id, identifier, checksum, rebuilt, written)
    select
        schema_oid,
        '{{ model.unique_id }}',
        '{{ this.identifier }}',
        {{ "'" ~ model_checksum(model.unique_id) ~ "'" if continued else 'null' }},
        {{ rebuilt }},
        true
    from {{ in_ops('buffers') }}
    where schema_oid = {{ buffer }}
    on conflict (schema_oid, unique_id) do update set
        identifier = excluded.identifier,
        checksum = excluded.checksum,
        -- A second attempt of the run doesn't take back that the first one was a full build.
        rebuilt = excluded.rebuilt or buffer_models.rebuilt
            and buffer_models.built_at > (select since from {{ in_ops('buffers') }} where schema_oid = excluded.schema_oid),
        written = true,
        built_at = clock_timestamp();
    {%- endif %}
{% endmacro %}
