{#
    The values that a product's price or inventory has had, one row per product and value, valid from `valid_from`
    until before `valid_to`; null is an open end.

    The raw table holds today's value alone, so older ones come from the snapshot as the last run left it. Both are dated
    by the load clock (`_loaded_at`), and today's snapshot will hold raw's row under the same date: the rows are the same
    before and after it is taken. Nobody knows what was before the first version, so that one reaches back for ever. A day
    without a value, which the snapshot keeps as it was, tells of no change.
#}
{% macro product_versions(attribute, type) %}
    {%- set past = source('last_run', 'products_snapshot') %}
    with

    seen as (

        select
            product_id,
            {{ attribute }},
            {{ utc('_loaded_at') }} as seen_at
        from {{ ref('stg_greenery__products') }}
        where {{ attribute }} is not null

        {% if execute and relation_exists(past) -%}
        union all

        select
            product_id,
            cast({{ attribute }} as {{ type }}) as {{ attribute }},
            dbt_valid_from as seen_at
        from {{ past }}
        where {{ attribute }} is not null
        {%- endif %}

    ),

    compared as (

        select
            product_id,
            {{ attribute }},
            seen_at,
            row_number() over (partition by product_id order by seen_at, {{ attribute }}) as version,
            lag({{ attribute }}) over (partition by product_id order by seen_at, {{ attribute }}) as {{ attribute }}_before
        from seen

    )

    select
        product_id,
        {{ attribute }},
        case when version > 1 then seen_at end as valid_from,
        lead(seen_at) over (partition by product_id order by version) as valid_to
    from compared
    where version = 1 or {{ attribute }} <> {{ attribute }}_before
{% endmacro %}
