{# The declared columns (name to column, as in the manifest) that a relation lacks or has with another type. #}
{% macro misshapen_columns(relation, columns) %}
    {{ return(adapter.dispatch('misshapen_columns')(relation, columns)) }}
{% endmacro %}

{% macro postgres__misshapen_columns(relation, columns) %}
    with

    declared as (

        {% for column in columns.values() -%}
        select
            '{{ column.name }}' as column_name,
            format_type('{{ column.data_type }}'::regtype, null) as declared_type
        {{ 'union all' if not loop.last }}
        {% else -%}
        select
            cast(null as text) as column_name,
            cast(null as text) as declared_type
        where false
        {%- endfor %}

    ),

    found as (

        select
            attname as column_name,
            format_type(atttypid, null) as found_type
        from pg_attribute
        where
            attrelid = to_regclass('{{ relation }}')
            and attnum > 0
            and not attisdropped

    )

    select
        declared.column_name,
        declared.declared_type,
        coalesce(found.found_type, 'no such column') as found_type
    from declared
    left join found on declared.column_name = found.column_name
    where found.found_type is null or found.found_type <> declared.declared_type
{% endmacro %}
