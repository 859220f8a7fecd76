{# A moment as a timestamp without time zone, in UTC, whatever the session's time zone is. #}
{% macro utc(moment) -%}
    {{ return(adapter.dispatch('utc')(moment)) }}
{%- endmacro %}

{% macro default__utc(moment) -%}
    cast({{ moment }} as {{ dbt.type_timestamp() }})
{%- endmacro %}

{% macro postgres__utc(moment) -%}
    ({{ moment }} at time zone 'UTC')
{%- endmacro %}
