{#
    An incremental model that dbt builds by one of its own strategies is right on top of what the run before made of it, and
    the buffer holds what the run before that one made: what came in while the other buffer was live is not in it. So it goes on
    from a copy of what is published, and holds what dbt promises of it, whatever it filters by: its own newest row, the
    clock, a batch, or nothing. A task that is cleared begins with the copy again, and appends nothing twice.

    It is built in full where nothing of it is published, and where its code or what it reads has changed since, or may have;
    but for that last with `full_refresh: false`, which says of it that it can't be built again, and where dbt tells its
    batches by itself.
#}
{% macro goes_on_from_published(node) %}
    {{ return(adapter.dispatch('goes_on_from_published')(node)) }}
{% endmacro %}

{% macro default__goes_on_from_published(node) %}
    {{ return(not dbt.should_full_refresh()) }}
{% endmacro %}

{% macro postgres__goes_on_from_published(node) %}
    {%- if dbt.should_full_refresh() or node.schema != target.schema or not remembers_buffers() -%}
        {#- Elsewhere there is one table, which each run goes on with as dbt does. -#}
        {{ return(not dbt.should_full_refresh()) }}
    {%- endif -%}
    {#- By the name that it had then; where `ops` has no word of it, as after a restore, by the name that it has now. -#}
    {%- set published = run_query(
        "select tables.relname, models.checksum from pg_class as tables"
        ~ " left join ops.buffer_models as models"
        ~ " on models.schema_oid = tables.relnamespace and models.unique_id = '" ~ node.unique_id ~ "'"
        ~ " where tables.relnamespace = to_regnamespace('" ~ published_schema() ~ "') and tables.relkind in ('r', 'p')"
        ~ " and tables.relname = coalesce(models.identifier, '" ~ node.alias ~ "')"
    ).rows | first -%}
    {%- set is_kept = node.config.full_refresh == false or node.config.incremental_strategy == 'microbatch' -%}
    {%- if not published or not is_kept and published.checksum != model_checksum(node.unique_id) -%}
        {{ return(false) }}
    {%- endif -%}
    {%- if flags.WHICH in ['build', 'run', 'retry'] -%}
        {%- do copy_published(adapter.quote(published_schema()) ~ '.' ~ adapter.quote(published.relname)) -%}
    {%- endif -%}
    {{ return(true) }}
{% endmacro %}

{# What publish exchanges the schema with that dbt builds in. #}
{% macro published_schema() %}
    {{ return('analytics') }}
{% endmacro %}

{#
    Put a copy of a published table in the model's place: before dbt looks for it, so in a transaction of its own, in which the
    buffer is marked as well, since it is no longer what it was.
#}
{% macro copy_published(table) %}
    {%- do log(model.name ~ " goes on from what is published of it, which is copied first", info=true) -%}
    {%- set former = adapter.get_relation(this.database, this.schema, this.identifier) -%}
    {%- set buffer = "schema_oid = to_regnamespace('" ~ target.schema ~ "')::oid" -%}
    {%- if former is not none -%}
        {%- do adapter.drop_relation(former) -%}
    {%- endif -%}
    {%- call statement('copy', auto_begin=true) -%}
        create table {{ this }} (like {{ table }} including all);
        insert into {{ this }} select * from {{ table }};
        analyze {{ this }};
        insert into ops.buffer_models (schema_oid, unique_id, identifier, rebuilt, written, built_at)
        select schema_oid, '{{ model.unique_id }}', '{{ this.identifier }}', false, true, '-infinity'
        from ops.buffers
        where {{ buffer }}
        on conflict (schema_oid, unique_id) do update set written = true, identifier = excluded.identifier;
        update ops.buffers set dirty = true where {{ buffer }} and not dirty;
    {%- endcall -%}
    {%- do adapter.commit() -%}
    {%- do adapter.cache_added(this.incorporate(type='table')) -%}
    {#- As in before_build: psycopg2 begins no second transaction by itself. -#}
    {%- do run_query('begin') -%}
{% endmacro %}

{# dbt looks for the table first. #}
{% materialization incremental, adapter='postgres', supported_languages=['sql'] %}
    {%- do is_rebuilt(model.unique_id) -%}
    {{ return(dbt.materialization_incremental_default()) }}
{% endmaterialization %}
