{#
    The pattern of a zip code in the country that a column (or a name in quotes) tells, as SQL; null for a country that is not here.
    Add yours to the list: its names, in capitals, and what its codes match in either case.
#}
{% macro zip_code_pattern(country) -%}
    {%- set five_digits = '([A-Z]{1,2}-)?[0-9]{5}' -%}
    {%- set four_digits = '([A-Z]{1,2}-)?[0-9]{4}' -%}
    {%- set countries = [
        (['UNITED STATES', 'UNITED STATES OF AMERICA', 'USA', 'US'], '(?!00000)[0-9]{5}(-?[0-9]{4})?'),
        (['CANADA', 'CA'], '[ABCEGHJ-NPRSTVXY][0-9][A-Z][ -]?[0-9][A-Z][0-9]'),
        (['UNITED KINGDOM', 'GREAT BRITAIN', 'UK', 'GB'], 'GIR ?0AA|[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][A-Z]{2}'),
        (['GERMANY', 'DEUTSCHLAND', 'DE', 'FRANCE', 'FR', 'ITALY', 'IT', 'SPAIN', 'ES', 'MEXICO', 'MX'], five_digits),
        (['AUSTRIA', 'AT', 'SWITZERLAND', 'CH', 'BELGIUM', 'BE', 'DENMARK', 'DK', 'NORWAY', 'NO'], four_digits),
        (['AUSTRALIA', 'AU', 'NEW ZEALAND', 'NZ'], four_digits),
        (['NETHERLANDS', 'NL'], '[0-9]{4} ?[A-Z]{2}'),
        (['SWEDEN', 'SE'], '([A-Z]{1,2}-)?[0-9]{3} ?[0-9]{2}'),
        (['POLAND', 'PL'], '[0-9]{2}-?[0-9]{3}'),
        (['BRAZIL', 'BR'], '[0-9]{5}-?[0-9]{3}'),
        (['JAPAN', 'JP'], '[0-9]{3}-?[0-9]{4}'),
        (['INDIA', 'IN'], '[1-9][0-9]{2} ?[0-9]{3}'),
    ] -%}
    case
        {%- for names, pattern in countries %}
        when upper(trim({{ country }})) in ('{{ names | join("', '") }}') then '^({{ pattern }})$'
        {%- endfor %}
    end
{%- endmacro %}
