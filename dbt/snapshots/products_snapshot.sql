{#
    A version is dated by the shop's stamp, so that one which a run saw late is no younger than it is. But no version takes
    the place of one that is as young: where the stamp is from the future, or not newer than that of the version that it
    ends (a change without a new stamp, a dump that was restored), it is dated by the run. `dbt_scd_id` is the key with
    that time, and doubled it would block every later run.
#}
{% snapshot products_snapshot %}

with

products as (

    select
        product_id,
        name,
        -- What is no number is kept as no value: it would price what was ordered until it was mended.
        {{ finite('price') }} as price,
        inventory,
        {{ stamped_until_now() }} as stamped_at
    from {{ source('greenery', 'products') }}

),

held as (

    {{ open_versions(this) | indent(4) }}

),

final as (

    select
        products.product_id,
        products.name,
        products.price,
        products.inventory,
        {{ version_begins('products.stamped_at', 'held.seen_at') }} as _loaded_at
    from products
    left join held on products.product_id = held.product_id

)

select * from final

{% endsnapshot %}
