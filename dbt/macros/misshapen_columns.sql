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

{# The columns that a relation has beyond the declared ones, those of the loader (_name) not counted. #}
{% macro undeclared_columns(relation, columns) %}
    {{ return(adapter.dispatch('undeclared_columns')(relation, columns)) }}
{% endmacro %}

{% macro postgres__undeclared_columns(relation, columns) %}
    select
        attname as column_name,
        format_type(atttypid, atttypmod) as column_type
    from pg_attribute
    where
        attrelid = to_regclass('{{ relation }}')
        and attnum > 0
        and not attisdropped
        and left(attname, 1) <> '_'
        {%- if columns %}
        and attname not in ('{{ columns.keys() | join("', '") }}')
        {%- endif %}
{% endmacro %}
