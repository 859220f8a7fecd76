{% macro cents_to_euros(column) -%}
    cast({{ column }} / 100.0 as numeric(16, 2))
{%- endmacro %}
