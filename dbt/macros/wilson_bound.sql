{#
    A bound of the Wilson score interval, at 95 %, of a rate of `hits` in `trials`: `side` is "-" or "+". Null without
    trials. Unlike p ± 2 standard errors it stays within 0 and 1 and is wide where there are few, also at 0 and at 1.
#}
{% macro wilson_bound(hits, trials, side) -%}
    {%- set z_squared = 1.96 ** 2 -%}
    cast(
        (
            {{ hits }} + {{ z_squared / 2 }}
            {{ side }} 1.96 * sqrt({{ hits }} * ({{ trials }} - {{ hits }}) * 1.0 / nullif({{ trials }}, 0) + {{ z_squared / 4 }})
        ) / ({{ trials }} + {{ z_squared }})
        as numeric(16, 4)
    )
{%- endmacro %}
