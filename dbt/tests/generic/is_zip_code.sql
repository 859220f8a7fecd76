{#
    A zip code that is one of its country: one that a spreadsheet read as a number has lost its zero. `country` is the column that
    tells the country, or a name in quotes where all rows are of one. Countries that zip_code_pattern doesn't know are not
    looked at. A warning, as in well_formed: people type zip codes, and addresses in the wrong country. A row tells what the zip
    code looks like and not the zip code, which tells of a person.
#}
{% test is_zip_code(model, column_name, country, key) %}

{{ config(severity='warn', meta={'hides_personal': true}) }}
with

zip_codes as (

    select
        {{ key }},
        {{ country }} as country,
        {{ column_name }} as zip_code,
        {{ zip_code_pattern(country) }} as pattern
    from {{ only_newest(model) }}
    where {{ column_name }} is not null

)

select
    {{ key }},
    country,
    {{ looks_of('zip_code') }} as looks_like
from zip_codes
where not {{ matches('zip_code', 'pattern', any_case=true) }}

{% endtest %}
