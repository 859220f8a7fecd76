{#
    Nothing happens to a thing before it is there: the moment in `column_name` is not before `began` of the row in `to` whose
    `field` is `by`, nor after `ended`, where that is named. `key` names the rows where it is.

    A new row is compared, and so is an old one whose thing is another now. Its thing is looked up by `by`, so that one has an index.
#}
{% test happens_within(model, column_name, key, to, field, by, began, ended=none) %}

{%- set new = new_rows(model) %}
{%- set thing = node_of(to) %}
{%- if new and takes_changes(thing) and thing.config.meta.key == field and not scans_all([thing.unique_id]) %}
    {%- set these = [new, in_changed(thing, by)] %}
{%- else %}
    {%- set these = ['true'] %}
{%- endif %}
with

happened as (

    {% for condition in these -%}
    select
        {{ key }} as happened_key,
        {{ column_name }} as happened_at,
        {{ by }} as thing
    from {{ model }}
    where {{ condition }}
    {{ 'union' if not loop.last }}
    {% endfor %}

)

select
    happened.happened_key as {{ key }},
    happened.happened_at as {{ column_name }},
    things.{{ began }} as {{ to.identifier }}_{{ began }}
    {%- if ended %},
    things.{{ ended }} as {{ to.identifier }}_{{ ended }}
    {%- endif %}
from happened
inner join {{ to }} as things on happened.thing = things.{{ field }}
where
    {{ by_any_clock(latest('happened.happened_at')) }} < things.{{ began }}
    {%- if ended %}
    or happened.happened_at > {{ by_any_clock(latest('things.' ~ ended)) }}
    {%- endif %}

{% endtest %}
