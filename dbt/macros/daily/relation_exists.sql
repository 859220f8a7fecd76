{#
    Whether the warehouse holds a relation yet; unit tests override it. The database is asked, and not dbt's cache: the cache of
    a schema that holds none of the project's nodes is filled at the first question, and another thread may read it half filled.
#}
{% macro relation_exists(relation) %}
    {%- set name = dbt.escape_single_quotes(relation | string) -%}
    {{ return(run_query("select to_regclass('" ~ name ~ "') is not null as found").rows[0].found) }}
{% endmacro %}
