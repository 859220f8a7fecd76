{# dbt's own takes the wall clock of the server's time zone; a version's validity is in UTC, like every other timestamp. #}
{% macro postgres__snapshot_get_time() -%}
    {{ utc(current_timestamp()) }}
{%- endmacro %}
