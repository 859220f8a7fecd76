{#
    The values that a product's price or inventory has had, one row per product and value, valid from `valid_from`
    until before `valid_to`; null is an open end.

    The raw table, or a staging view of it, holds today's value alone, so older ones come from the snapshot as the last run
    left it. Both are dated alike (`version_begins`), so the rows are the same before and after today's snapshot is taken. A
    value that was loaded again is no new one: when a row was loaded tells nothing. Nobody knows what was before the first
    version, so that one reaches back for ever. A day on which the value was not `known`, which the snapshot keeps as it was,
    tells of no change.
#}
{% macro product_versions(attribute, type, products, known='is not null') %}
    {%- set past = source('last_run', 'products_snapshot') %}
    with

    present as (

        select
            product_id,
            cast({{ attribute }} as {{ type }}) as {{ attribute }},
            {{ stamped_until_now() }} as stamped_at
        from {{ products }}
        where {{ attribute }} {{ known }}

    ),

    former as (

        {% if execute and relation_exists(past) -%}
        select
            product_id,
            case when {{ attribute }} {{ known }} then cast({{ attribute }} as {{ type }}) end as {{ attribute }},
            dbt_valid_from as seen_at
        from {{ past }}
        {%- else -%}
        select
            product_id,
            {{ attribute }},
            stamped_at as seen_at
        from present
        where false
        {%- endif %}

    ),

    held as (

        {{ open_versions(past) | indent(8) }}

    ),

    seen as (

        select
            product_id,
            {{ attribute }},
            seen_at
        from former
        where {{ attribute }} is not null

        union all

        select
            present.product_id,
            present.{{ attribute }},
            {{ version_begins('present.stamped_at', 'held.seen_at') }} as seen_at
        from present
        left join held on present.product_id = held.product_id

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

{# Since when each product's open version in a snapshot is valid; no row where there is no snapshot yet. #}
{% macro open_versions(snapshot) -%}
    {%- if execute and relation_exists(snapshot) -%}
    select
        product_id,
        dbt_valid_from as seen_at
    from {{ snapshot }}
    where dbt_valid_to is null
    {%- else -%}
    select
        cast(null as {{ dbt.type_string() }}) as product_id,
        cast(null as {{ dbt.type_timestamp() }}) as seen_at
    where false
    {%- endif %}
{%- endmacro %}

{# When raw's row was loaded, in UTC; a stamp from the future says no more than that it was by now. #}
{% macro stamped_until_now() -%}
    least({{ utc('_loaded_at') }}, {{ utc(dbt.current_timestamp()) }})
{%- endmacro %}

{#
    When a product's version begins: with the shop's stamp, unless that is not newer than the one of the version that it
    ends; then with the run that sees it. `held_from` is null where there is no former version.
#}
{% macro version_begins(stamped_at, held_from) -%}
    case
        when {{ held_from }} >= {{ stamped_at }}
            then greatest({{ utc(dbt.current_timestamp()) }}, {{ dbt.dateadd('millisecond', 1, held_from) }})
        else {{ stamped_at }}
    end
{%- endmacro %}
