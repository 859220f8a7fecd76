{# How many days `dim_days` can hold: a hundred years. A row with an absurd date makes no calendar without end. #}
{% macro calendar_days() %}
    {{ return(36525) }}
{% endmacro %}
