"""A change of comments and white space is known as one, and nothing else is taken for it."""

from __future__ import annotations

import pytest

from include.preview import code

MODEL = "select a, b\nfrom {{ ref('x') }}\nwhere a = 'it''s -- no comment'"

SAME = {
    "a comment at the end of a line": (MODEL, MODEL.replace("a, b", "a, -- the key\n b")),
    "a comment before a comma": ("a\n, b", "a -- the key\n, b"),
    "a comment at the end": (MODEL, MODEL + "\n-- over"),
    "a comment in place of space": ("select a", "select/* c */a"),
    "a comment over lines": ("select a", "/* one\n -- two */ select a"),
    "a comment in a comment": ("select a", "select /* x /* y */ z */ a"),
    "a quote in a comment": ("select a", "select a -- it's"),
    "another comment": ("select a -- x", "select a -- y"),
    "a comment of Jinja": ("select a", "{# why #}\nselect a"),
    "a comment of Jinja inside a word": ("select ab", "select a{# why #}b"),
    "a comment of Jinja inside a text": ("select 'ab'", "select 'a{# why #}b'"),
    "a comment of Jinja that takes space along": ("select ab", "select a  {#- why -#}  b"),
    "code in a comment of Jinja": ("select a", "select a {# {% if x %} ' {{ y }} #}"),
    "indentation": ("select a,\n  b\nfrom c", "select a, b from c"),
    "lines": ("select a\r\nfrom b\n", "select a\nfrom b"),
    "space beside brackets": ("count( a , b )", "count(a, b)"),
    "space within Jinja": ("{{ ref('x') }}", "{{ref( 'x' )}}"),
    "how Jinja trims lines": ("a {% if x %} b {% endif %} c", "a {%if x%} b {%endif %} c"),
    "what config() is called with": ("{{ config(materialized='view') }} select a", "select a"),
    "a config() with a hook in it": ("""{{ config(post_hook="select 'x' -- " ~ f(1)) }} select a""", "select a"),
    "a comment beside a condition in Jinja": (
        "select {{ count_if(\"kind = 'x'\") }}",
        "select {{ count_if(\"kind = 'x'\") }} -- how many",
    ),
    "a comment in a text of dollars is none, and one behind it is": ("$x$ -- $x$", "$x$ -- $x$ -- a"),
    "a comment behind a text with a backslash": ("select E'it\\'s'", "select E'it\\'s' -- a"),
    "a comment behind a name in quotes": ('select "a--""b"', 'select "a--""b" -- c'),
    "a comment in code that can't be read": ("{% if x %}' {% endif %} a", "{% if x %}' {# why #}{% endif %} a"),
}
OTHER = {
    "another word": ("select a", "select b"),
    "what was a comment": ("select a -- , b", "select a , b"),
    "what becomes a comment": ("select a, b", "select a -- , b"),
    "a text that looks like a comment": ("select 'a -- b'", "select 'a -- c'"),
    "a text of dollars": ("select $x$ -- a $x$", "select $x$ -- b $x$"),
    "a text of dollars in one of others": ("$x$ $y$ -- a $y$ $x$", "$x$ $y$ -- b $y$ $x$"),
    "a name in quotes": ('select "a--b"', 'select "a--c"'),
    "a text with a backslash": ("select E'\\'-- a'", "select E'\\'-- b'"),
    "a text in which a backslash is a letter": ("select '\\' , b -- '", "select '\\' , c -- '"),
    "a text behind a name that holds dollars": ("select a$x$ '$x$ -- b '", "select a$x$ '$x$ -- c '"),
    "space in a text": ("select 'a b'", "select 'a  b'"),
    "space in a name": ('select "a b"', 'select "a  b"'),
    "space in a text of Jinja": ("{{ f('a b') }}", "{{ f('a  b') }}"),
    "space between words": ("select a b", "select ab"),
    "space within an operator": ("a < = b", "a <= b"),
    "space that makes no comment": ("a - - b", "a -- b"),
    "a comment that ends in one of others": ("/* a */ b */", "/* a */ c */"),
    "a comment that is left in one of others": ("/* /* */ a */ b", "/* /* */ a */ c"),
    "a text that goes on behind a line's end": ("'a'\n'b'", "'a' 'b'"),
    "letters in upper case": ("select a", "select A"),
    "another model": ("{{ ref('x') }}", "{{ ref('y') }}"),
    "an expression in place of its text": ("'{{ x }}'", "{{ x }}"),
    "Jinja that is shown": ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
    "Jinja in a comment": ("a -- {{ x }}", "a -- {{ y }}"),
    "Jinja in a comment over lines": ("a /* {{ x }} */", "a"),
    "a word to the planner": ("/*+ seqscan(a) */ select a", "select a"),
    "a comment that trimming spreads over a line": (
        "-- a\n{% if x %} b {% endif %}",
        "-- a\n{%- if x %} b {% endif %}",
    ),
    "a comment that is none where another branch is taken": (
        "'{% if x %}' {% else %} -- a\n' {% endif %} '{% if x %}' {% else %} -- a\n' {% endif %}",
        "'{% if x %}' {% else %} -- b\n' {% endif %} '{% if x %}' {% else %} -- a\n' {% endif %}",
    ),
    "a text that a branch may close": ("{% if x %}'{% endif %} -- a '", "{% if x %}'{% endif %} -- b '"),
    "a text that Jinja may close": ("{{ \"'\" }} -- a '", "{{ \"'\" }} -- b '"),
    "a comment that Jinja may open": ("{{ '/*' }} a */ -- b", "{{ '/*' }} a */ -- c"),
    "more than config() in a piece": ("{{ config(a=1) ~ x }}", "{{ config(a=1) ~ y }}"),
    "what hangs at config()": ("{{ config(a=1).b(c) }}", "{{ config(a=1).b(d) }}"),
    "a quote that is never closed": ("select 'a -- b", "select 'a -- c"),
    "a comment that is never closed": ("select /* a", "select /* b"),
    "Jinja that can't be read": ("{{ 'a } -- b", "{{ 'a } -- c"),
    "a null character": ("select \0 -- b", "select \0 -- c"),
    "space that is none to Postgres": ("select\u00a0a", "select a"),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME.keys())
def test_comments_and_white_space_do_not_count(one: str, other: str) -> None:
    assert code.parts(one) == code.parts(other)


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER.keys())
def test_all_else_counts(one: str, other: str) -> None:
    assert not code.same(one, other)
    assert not code.same(other, one)


def test_a_text_is_the_same_as_itself_whatever_it_is() -> None:
    assert code.same("{{ 'a } -- b", "{{ 'a } -- b")
