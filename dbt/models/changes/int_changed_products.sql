{%- set former_products = former('int_product_kinds') -%}
{%- set products = ref('stg_greenery__products') -%}
with

former as (

    select
        product_id,
        product_name
    from {{ former_products or products }}

),

present as (

    select
        product_id,
        product_name
    from {{ products }}

),

vanished as (

    select product_id, product_name from former
    {{ dbt.except() }}
    select product_id, product_name from present

),

appeared as (

    select product_id, product_name from present
    {{ dbt.except() }}
    select product_id, product_name from former

),

changed as (

    select product_id from vanished
    union distinct
    select product_id from appeared

),

known as (

    select product_id from former
    union distinct
    select product_id from present

),

-- With a name that comes or goes another product may have gained or lost its kind.
final as (

    select product_id
    from known
    where product_id is not null and exists (select product_id from changed){{ '' if former_products else ' and false' }}

)

select * from final
