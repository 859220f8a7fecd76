{#
    What is wrong with the text (or the amount) in a column, in words; null where nothing is. `kind` says what the column is for:

    * text: what people write, a name for example. * code: what machines write, a key for example. * email, phone, url.
    * money: an amount in whole cents.

    Patterns are generous: they find what is broken, and don't judge taste.
#}
{% macro fault_of(column, kind) -%}
    {%- if kind == 'money' -%}
    case when {{ column }} <> round({{ column }}, 2) then 'more than two decimals' end
    {%- elif kind not in text_kinds() -%}
    {{ exceptions.raise_compiler_error(
        "'" ~ kind ~ "', the kind of " ~ column ~ " in " ~ model.name ~ ", is none of: money, " ~ text_kinds() | join(', ') ~ "."
    ) }}
    {%- else -%}
    {%- set name, pattern = text_kinds()[kind] -%}
    {%- set number = "'^[+-]?[0-9]+([.]0+|([.][0-9]+)?[eE][+-][0-9]+|[.][0-9]+[eE][0-9]+)$'" -%}
    {%- set placeholder = "lower(" ~ column ~ ") in ('" ~ placeholders() | join("', '") ~ "')" -%}
    case
        when {{ column }} is null or {{ column }} = '' then null
        when {{ matches(column, "'^\\s|\\s$'") }} then 'space at an end'
        when octet_length({{ column }}) <> length({{ column }}) and {{ matches(column, "'" ~ misread_letters() ~ "'") }}
            then 'letters read in another encoding'
        when {{ matches(column, number) }} then 'text that a number went through'
        when length({{ column }}) <= 10 and {{ placeholder }} then 'a placeholder'
        {%- if pattern %}
        when not {{ matches(column, "'" ~ pattern ~ "'") }} then 'no {{ name }}'
        {%- endif %}
    end
    {%- endif -%}
{%- endmacro %}

{# By kind of text: what it is called, and the pattern that it matches; text matches any. #}
{% macro text_kinds() %}
    {{ return({
        'text': ('text', ''),
        'code': ('code', '^[A-Za-z0-9][A-Za-z0-9 ._:/#+=-]*$'),
        'email': ('e-mail address', '^[^@\\s]+@[^@\\s]+[.][^@\\s.]+$'),
        'phone': ('phone number', '^[+(]?([0-9][ ()./-]*){5,15}( ?(x|ext[.]?) ?[0-9]+)?$'),
        'url': ('url', '^([A-Za-z][A-Za-z0-9+.-]*:)?/\\S*$'),
    }) }}
{% endmacro %}

{# What UTF-8 looks like that was read as Latin-1 or as Windows-1252, and what stands for a letter that could not be read. #}
{% macro misread_letters() %}
    {{ return(
        '[\\u00c2\\u00c3][\\u0080-\\u00bf]|\\u00c3[\\u0152\\u0153\\u0160\\u0161\\u0178\\u017d\\u017e\\u0192\\u02c6\\u02dc\\u2013-\\u203a\\u20ac\\u2122]'
        ~ '|\\u00e2\\u20ac|\\u00ef\\u00bb\\u00bf|\\ufffd'
    ) }}
{% endmacro %}

{# White space of any kind and width (none among it), control characters, marks of order and tags: all that leaves paper white. #}
{% macro invisible_letters() %}
    {{ return(
        '\\s\\u0001-\\u0020\\u007f-\\u00a0\\u00ad\\u034f\\u061c\\u115f\\u1160\\u1680\\u17b4\\u17b5\\u180b-\\u180f'
        ~ '\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800\\u3000\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff9-\\ufffb'
        ~ '\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e0fff'
    ) }}
{% endmacro %}

{# What is written where there is nothing, in lower case. #}
{% macro placeholders() %}
    {{ return([
        'n/a', '#n/a', '#ref!', '#value!', 'null', '(null)', '<null>', '\\n', 'none', 'nil', 'nan', 'undefined', 'unknown', 'missing',
        'tbd', 'todo', '-', '--', '?', '.', '0000-00-00', '1900-01-01', '1970-01-01', '9999-12-31',
    ]) }}
{% endmacro %}

{# What a text looks like, for people who must not read it: each letter an "a", each digit a "9". #}
{% macro looks_of(column) -%}
    {{ return(adapter.dispatch('looks_of')(column)) }}
{%- endmacro %}

{% macro postgres__looks_of(column) -%}
    regexp_replace(regexp_replace(left(cast({{ column }} as text), 40), '[^\u0001-\u0040\u005b-\u0060\u007b-\u007f]', 'a', 'g'), '[0-9]', '9', 'g')
{%- endmacro %}

{# Whether text matches a regular expression, both as SQL. #}
{% macro matches(text, pattern, any_case=false) -%}
    {{ return(adapter.dispatch('matches')(text, pattern, any_case)) }}
{%- endmacro %}

{% macro postgres__matches(text, pattern, any_case) -%}
    {{ text }} {{ '~*' if any_case else '~' }} {{ pattern }}
{%- endmacro %}

{# Whether a column of the manifest is marked as personal; one that is not declared may be. #}
{% macro is_personal(column) %}
    {{ return(not column or (column.config.meta.personal or column.meta.personal) | default(false, true)) }}
{% endmacro %}

{# Any value as text. #}
{% macro as_text(column) -%}
    cast({{ column }} as {{ dbt.type_string() }})
{%- endmacro %}
