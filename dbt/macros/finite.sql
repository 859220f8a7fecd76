{# A number, or null where it is none: NaN and the two infinities. #}
{% macro finite(number) -%}
    case when {{ number }} not in ('NaN', 'Infinity', '-Infinity') then {{ number }} end
{%- endmacro %}
