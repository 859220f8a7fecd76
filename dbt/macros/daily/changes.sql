{#
    What an incremental model needs in order to take changes alone: what changed in raw since the former run built into this
    buffer, and that the rows of a changed key are replaced, those that vanished included.
#}

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
        "select loaded_at::text as loaded_at from ops.watermarks where source = '" ~ table ~ "'"
        ~ " and schema_oid = to_regnamespace('" ~ target.schema ~ "')::oid"
    ).rows -%}
    {{ return(rows[0].loaded_at if rows else '-infinity') }}
{% endmacro %}

{#
    From when on a version of a snapshot can be one that a model has not taken into this buffer yet, in UTC: a day before it was last
    built there, since clocks are set back. None (look at all versions) in a weekly look, and where that build is dated ahead of
    the clock.
#}
{% macro untaken_since(name) %}
    {%- if scans_all([]) -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set rows = run_query(
        "select (built_at at time zone 'UTC' - interval '1 day')::text as since from ops.buffer_models"
        ~ " where unique_id = 'model." ~ project_name ~ "." ~ name ~ "' and built_at < now()"
        ~ " and schema_oid = to_regnamespace('" ~ target.schema ~ "')::oid"
    ).rows -%}
    {{ return(rows[0].since if rows else none) }}
{% endmacro %}

{# The keys of a raw table whose rows are new, changed or gone. `relation` is its staging model. #}
{% macro changed_keys(table, key, relation, deletions) -%}
    select {{ key }}
    from {{ relation }}
    where {{ is_new(table) }}

    union distinct

    select key as {{ key }}
    from {{ deletions }}
    where table_name = '{{ table }}' and {{ is_new('deletions', 'deleted_at') }}
{%- endmacro %}

{#
    For an incremental model that takes changes alone: a filter that leaves of a relation what concerns the changed keys, as
    the model named `changes` lists them. Nothing where the model is built in full. `told_by` is what the key is in the
    relation, where it is no column of it.
#}
{% macro only_changed(key, changes, told_by=none) -%}
    {%- if changes_alone(changes) -%}
    where {{ told_by or key }} in (select {{ key }} from {{ ref(changes) }})
    {%- endif -%}
{%- endmacro %}

{# Whether the model takes changes alone, which another model lists; tells dbt, when it parses, that it reads that one. #}
{% macro changes_alone(changes) %}
    {%- if not execute -%}
        {%- do ref(changes) -%}
    {%- endif -%}
    {{ return(is_incremental()) }}
{% endmacro %}

{#
    The incremental strategy of the marts: all rows whose key is among the changed ones go, and what the model makes of these
    keys now comes in, in one transaction. `meta` says which key, and which model lists the changed ones; a model that
    names neither is built as dbt builds one without a strategy.
#}
{% macro get_incremental_replace_changed_sql(arg_dict) %}
    {%- if not takes_changes(model) -%}
        {{ return(get_incremental_default_sql(arg_dict)) }}
    {%- endif -%}
    {%- set meta = config.get('meta') -%}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    delete from {{ arg_dict['target_relation'] }}
    where {{ meta.changed_key }} in (select {{ meta.changed_key }} from {{ ref(meta.changed_in) }});

    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }}
    from {{ arg_dict['temp_relation'] }}
{% endmacro %}
