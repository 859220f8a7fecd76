{# Whether the warehouse holds a relation yet; unit tests override it. #}
{% macro relation_exists(relation) %}
    {{ return(load_relation(relation) is not none) }}
{% endmacro %}
