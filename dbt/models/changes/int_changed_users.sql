{%- set users = ref('stg_greenery__users') -%}
{%- set addresses = ref('stg_greenery__addresses') -%}
{%- set changed_orders = ref('int_changed_orders') -%}
{%- set orders = ref('int_orders') -%}
{%- set deletions = source('loading', 'deletions') -%}
{%- set former_users = former('dim_users') -%}
with

{% if former_users -%}
changed_addresses as (

    {{ changed_keys('addresses', 'address_id', addresses, deletions) | indent(4) }}

),

{% endif -%}

changed as (

    {% if former_users -%}
    {{ changed_keys('users', 'user_id', users, deletions) | indent(4) }}

    union distinct

    select user_id
    from {{ former_users }}
    where address_id in (select address_id from changed_addresses)

    union distinct

    select former_user_id as user_id
    from {{ changed_orders }}

    union distinct

    select user_id
    from {{ orders }}
    where order_id in (select order_id from {{ changed_orders }})
    {%- else -%}
    select user_id from {{ users }} where false
    {%- endif %}

),

former as (

    select
        user_id,
        created_at
    from {{ former_users or users }}

),

final as (

    select
        changed.user_id,
        former.created_at as formerly_created_at
    from changed
    left join former on changed.user_id = former.user_id
    where changed.user_id is not null

)

select * from final
