{#
    A number that can be added up, or null: NaN and the two infinities are none, nor is what reaches a billion. A thousand such
    orders in a day are more than a metric can hold.
#}
{% macro finite(number) -%}
    case
        when {{ number }} not in ('NaN', 'Infinity', '-Infinity') and abs({{ number }}) < 1000000000 then {{ number }}
    end
{%- endmacro %}
