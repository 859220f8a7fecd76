{# What was counted of a raw table as the run began that people last got a publish of (`include/daily/rows_of_raw.py`). #}
{% macro rows_as_published(table) -%}
    (
        select table_name, rows, filled
        from {{ in_ops('rows_of_raw') }}
        where table_name = '{{ table.identifier }}' and publication_id is not null
        order by publication_id desc
        limit 1
    )
{%- endmacro %}
