{#
    dbt's own takes the wall clock of the server's time zone; a version's validity is in UTC, like every other timestamp. Where the
    snapshot dates its versions by moments of the source's (`updated_at` with a time zone), so does what closes them.
#}
{% macro postgres__snapshot_get_time() -%}
    {%- set is_moment = execute and config.get('updated_at') and run_query(
        "select exists (select from pg_attribute where attrelid = to_regclass('" ~ this ~ "') and attname = '"
        ~ (config.get('snapshot_table_column_names') or get_snapshot_table_column_names()).dbt_valid_to
        ~ "' and atttypid = 'timestamptz'::regtype) as is_moment"
    ).rows[0].is_moment -%}
    {{ current_timestamp() if is_moment else utc(current_timestamp()) }}
{%- endmacro %}
