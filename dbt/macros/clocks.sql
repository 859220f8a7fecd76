{# By how much two clocks may differ, or one of them be ahead, before a date is wrong. #}
{% macro clocks_differ_by() %}
    {{ return(5) }}
{% endmacro %}

{# A moment, with the error of a clock added to it. #}
{% macro by_any_clock(moment) -%}
    {{ dbt.dateadd('minute', clocks_differ_by(), moment) }}
{%- endmacro %}

{# The latest that a moment can mean: one at midnight in UTC may be a date, and stands for all of its day. #}
{% macro latest(moment) -%}
    case
        when mod(cast(extract(epoch from {{ moment }}) as numeric), 86400) = 0 then {{ dbt.dateadd('day', 1, moment) }}
        else {{ moment }}
    end
{%- endmacro %}
