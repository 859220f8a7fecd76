{# Whether the id of a user is that of somebody who was erased: `ops` knows them by a keyed hash (include/raw/stand_ins.py). Nobody is
    where it says nothing, as beside a schema of one's own. #}
{% macro is_erased(user_id) -%}
    {{ return(adapter.dispatch('is_erased')(user_id)) }}
{%- endmacro %}

{% macro default__is_erased(user_id) -%}
    false
{%- endmacro %}

{% macro postgres__is_erased(user_id) -%}
    {%- if execute and relation_exists(in_ops('stand_ins')) -%}
    encode(sha256((select key from {{ in_ops('erasure_key') }}) || convert_to({{ user_id }}, 'UTF8')), 'hex')
    in (select hash from {{ in_ops('stand_ins') }} where table_name = 'users')
    {%- else -%}
    false
    {%- endif -%}
{%- endmacro %}
