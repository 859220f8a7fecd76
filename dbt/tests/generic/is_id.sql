{#
    Ids that tell things apart: one that is there holds something that can be seen, and no more than an index of Postgres takes.
    `columns` are asked one by one, `key` names the rows. Nothing of an id is shown but what is wrong with it.
#}
{% test is_id(model, columns, key) %}

{{ config(meta={'hides_personal': true, 'names_faults': true}) }}
{%- set new = only_new(model) %}
{%- for column in columns %}
{%- set is_blank = matches(column, "'^[" ~ invisible_letters() ~ "]*$'") %}
select
    {{ shown_key(model, [key]) if key != column else 'cast(null as ' ~ dbt.type_string() ~ ')' }} as {{ key }},
    '{{ column }}' as column_name,
    case when {{ is_blank }} then 'blank' else 'longer than 1,000 bytes' end as fault
from {{ new }}
where {{ is_blank }} or octet_length({{ column }}) > 1000
{%- if not loop.last %}

union all

{% endif %}
{%- endfor %}

{% endtest %}
