{#
    A source table that has every declared column, with the declared type: a dropped or retyped one stops the run before
    a model is touched. A column that nobody declared is no fault.
#}
{% test has_shape(model) %}

{%- set declared = namespace(columns={}) %}
{%- if execute %}
    {%- for source in graph.sources.values() if source.schema == model.schema and source.identifier == model.identifier %}
        {%- set declared.columns = source.columns %}
    {%- endfor %}
{%- endif %}
{{ misshapen_columns(model, declared.columns) }}

{% endtest %}
