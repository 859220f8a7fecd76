{# The name of a date's day of the week, in English whatever the warehouse speaks; 1900-01-01 was a Monday. #}
{% macro weekday(date) -%}
    case mod({{ dbt.datediff("cast('1900-01-01' as date)", date, 'day') }}, 7)
        {%- for name in ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'] %}
        when {{ loop.index0 }} then '{{ name }}'
        {%- endfor %}
    end
{%- endmacro %}
