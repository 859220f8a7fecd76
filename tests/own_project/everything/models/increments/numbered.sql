{{ config(
    materialized='incremental',
    unlogged=true,
    on_schema_change='append_new_columns',
    post_hook="""
        alter table {{ this }}
        add column if not exists euros numeric generated always as (cents / 100.0) stored,
        add column if not exists number int generated always as identity,
        add column if not exists line serial
    """
) }}
select sale_id, cents from {{ ref('stg_sales') }}
{% if is_incremental() %}
where sale_id > (select max(sale_id) from {{ this }})
{% endif %}
order by sale_id
