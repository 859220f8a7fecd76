{#
    The values that a product's price or inventory has had, one row per product and value, valid from `valid_from`
    until before `valid_to`; null is an open end.

    The raw table, or a staging view of it, holds today's value alone, so older ones come from the snapshot as the last run
    left it. Both are dated by the load clock (`_loaded_at`), and today's snapshot will hold raw's row under the same date: the
    rows are the same before and after it is taken. Raw's row is news only where it says something else than the snapshot's
    last version: when it was loaded tells nothing. Nobody knows what was before the first version, so that one reaches back
    for ever. A day on which the value was not `known`, which the snapshot keeps as it was, tells of no change.
#}
{% macro product_versions(attribute, type, products, known='is not null') %}
    {%- set past = source('last_run', 'products_snapshot') %}
    with

    present as (

        select
            product_id,
            cast({{ attribute }} as {{ type }}) as {{ attribute }},
            {{ utc('_loaded_at') }} as seen_at
        from {{ products }}
        where {{ attribute }} {{ known }}

    ),

    former as (

        {% if execute and relation_exists(past) -%}
        select
            product_id,
            cast({{ attribute }} as {{ type }}) as {{ attribute }},
            dbt_valid_from as seen_at,
            dbt_valid_to is null as is_last
        from {{ past }}
        where {{ attribute }} {{ known }}
        {%- else -%}
        select
            product_id,
            {{ attribute }},
            seen_at,
            false as is_last
        from present
        where false
        {%- endif %}

    ),

    seen as (

        select
            product_id,
            {{ attribute }},
            seen_at
        from former

        union all

        select
            present.product_id,
            present.{{ attribute }},
            present.seen_at
        from present
        left join former on present.product_id = former.product_id and former.is_last
        where former.{{ attribute }} is null or former.{{ attribute }} <> present.{{ attribute }}

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
