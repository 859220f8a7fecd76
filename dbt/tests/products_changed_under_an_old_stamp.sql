{{ config(
    severity='warn',
    description='A product whose price or inventory is other than in the history although its stamp is not newer than that of the last version there: a loader that changes rows without a new _loaded_at, or an older dump that was restored. The snapshot dates the change by the run and goes on.'
) }}
{%- set past = graph.sources['source.' ~ project_name ~ '.last_run.products_snapshot'] if execute %}
{%- set held = api.Relation.create(past.database, past.schema, past.identifier) if execute %}
with

products as (

    select
        product_id,
        -- As the snapshot keeps it.
        {{ finite('price') }} as price,
        inventory,
        {{ utc('_loaded_at') }} as stamped_at
    from {{ source('greenery', 'products') }}

),

{% if held and relation_exists(held) -%}
held as (

    select
        product_id,
        price,
        inventory,
        dbt_valid_from as seen_at
    from {{ held }}
    where dbt_valid_to is null

)
{%- else -%}
held as (

    select
        product_id,
        price,
        inventory,
        stamped_at as seen_at
    from products
    where false

)
{%- endif %}

select
    products.product_id,
    held.price as price_before,
    products.price,
    held.inventory as inventory_before,
    products.inventory,
    products.stamped_at
from products
inner join held on products.product_id = held.product_id
where
    products.stamped_at <= held.seen_at
    and (products.price is distinct from held.price or products.inventory is distinct from held.inventory)
