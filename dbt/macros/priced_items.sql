{#
    Items with the price that was in force when they were loaded; null where none is known. It holds for an item that was not
    there before: `order_items_snapshot` writes it down when a run first sees the item, and from then on it stays.
    `order_items` is a CTE, `products` the raw table or a staging view of it. What is below zero or no number is no price.
#}
{% macro priced_items(order_items, products) %}
    select
        {{ order_items }}.*,
        prices.price
    from {{ order_items }}
    left join (
        {{ product_versions('price', 'numeric(16, 2)', products, known='between 0 and 99999999999999.99') | indent(8) }}
    ) as prices
        on {{ order_items }}.product_id = prices.product_id
        and (prices.valid_from is null or {{ utc(order_items ~ '._loaded_at') }} >= prices.valid_from)
        and (prices.valid_to is null or {{ utc(order_items ~ '._loaded_at') }} < prices.valid_to)
{% endmacro %}
