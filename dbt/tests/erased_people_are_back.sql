{{ config(
    description='nobody in raw who was erased: a loader of your own has to leave them out, or the shop to delete them. `python -m include.erase --again` takes them out'
) }}
select user_id
from {{ source('greenery', 'users') }}
where {{ is_erased('user_id') }}
