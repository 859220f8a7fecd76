with

products as (

    select * from {{ ref('stg_greenery__products') }}

),

-- The data knows no kinds. The last word of a name is one where several products share it: fern, palm, tree.
named_products as (

    select
        product_id,
        product_name,
        lower({{ dbt.split_part('trim(product_name)', "' '", -1) }}) as last_word,
        count(*) over (partition by lower({{ dbt.split_part('trim(product_name)', "' '", -1) }})) as products_with_it
    from products

),

final as (

    select
        product_id,
        product_name,
        case when products_with_it > 1 then last_word end as product_kind
    from named_products

)

select * from final
