{{ config(
    severity='warn',
    description='A column that raw has and _greenery__sources.yml does not declare: the shop has something new to tell. Names that begin with an underscore are the loader\'s own. What the live load saw come, go or change in the shop itself is told for a week.'
) }}
{%- set tables = ['users', 'addresses', 'orders', 'order_items', 'products', 'promos', 'events'] -%}
{%- for table in tables %}
{%- set relation = source('greenery', table) %}
{%- set declared = graph.sources['source.' ~ project_name ~ '.greenery.' ~ table].columns if execute else {} %}
select
    '{{ table }}' as table_name,
    column_name,
    column_type
from ({{ undeclared_columns(relation, declared) }}) as undeclared_in_{{ table }}
{{ 'union all' if not loop.last }}
{%- endfor %}
{%- set orders = source('greenery', 'orders') %}
{%- set drift = api.Relation.create(orders.database, orders.schema, 'shop_drift') if execute %}
{%- if drift and relation_exists(drift) %}
union all
select
    table_name,
    column_name,
    column_type
from {{ drift }}
where seen_at > {{ dbt.current_timestamp() }} - interval '7 days'
{%- endif %}
