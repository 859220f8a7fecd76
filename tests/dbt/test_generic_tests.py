"""What our own kinds of data tests find: each on a few made-up rows, right ones and wrong ones, at its boundaries.

They stand in a project of their own, which has Greenery's macros and generic tests and no models. Which rows a test
looks at on an ordinary day is a matter of `test_new_rows.py`; here it looks at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date

import pytest
import yaml
from dbt.cli.main import dbtRunner

from include.warehouse import migrate
from tests.dbt.conftest import PROJECT, Dbt, Shop

pytestmark = pytest.mark.db

# By table of the schema `made_up`: its columns, where a test asks for their declaration, and its tests, by name.
DECLARED = {
    "words": [{"name": "word_id"}, {"name": "written"}, {"name": "secret", "config": {"meta": {"personal": True}}}],
    "shapes": [{"name": name, "data_type": kind} for name, kind in (("a", "text"), ("b", "bigint"), ("c", "date"))],
    "ids": [{"name": "id"}, {"name": "other"}, {"name": "person", "config": {"meta": {"personal": True}}}],
    "moments": [{"name": "id"}],
    "visits": [{"name": "id"}],
}
TESTS = {
    "truths": {
        "truths_hold": ("holds", {"expression": "told", "key": "id"}),
    },
    "dozens": {
        "most_of_a_day": ("holds_for_most", {"expression": "told", "day": "at"}),
    },
    "weighed": {
        "most_of_the_weight": (
            "holds_for_most",
            {"expression": "told", "day": "at", "by": "kind", "weight": "amount"},
        ),
    },
    "numbers": {
        "numbers_are_finite": ("is_finite", {"column_name": "number", "key": "id"}),
        "numbers_are_not_negative": ("not_negative", {"column_name": "number"}),
    },
    "ids": {
        "ids_are_ids": ("is_id", {"columns": ["id", "other"], "key": "id"}),
        "people_have_ids": ("is_id", {"columns": ["other"], "key": "person"}),
    },
    "zip_codes": {
        "zip_codes_are_some": ("is_zip_code", {"column_name": "zip_code", "country": "country", "key": "id"}),
    },
    "moments": {
        "ends_after_its_begin": ("not_before", {"column_name": "ended", "moment": "began", "key": "id"}),
    },
    "visits": {
        "visits_within": (
            "happens_within",
            {"column_name": "at", "key": "id", "field": "id", "by": "of", "began": "began", "ended": "ended"},
        ),
        "visits_after": (
            "happens_within",
            {"column_name": "at", "key": "id", "field": "id", "by": "of", "began": "began"},
        ),
    },
    "nothings": {"nothings_are_there": ("not_empty", {})},
    "pairs": {
        "pairs_are_there": ("not_empty", {}),
        "pairs_are_one": ("unique_combination", {"columns": ["a", "b"]}),
        "names_are_read_apart": ("unique_but_for_case", {"column_name": "b"}),
    },
    "words": {
        "words_are_words": (
            "well_formed",
            {"columns": {"word_id": "code", "written": "text", "secret": "text"}, "key": "word_id"},
        ),
    },
    "kinds": {
        "kinds_are_kinds": (
            "well_formed",
            {"columns": {"email": "email", "phone": "phone", "url": "url", "price": "money"}, "key": "id"},
        ),
    },
    "shapes": {"shapes_have_shape": ("has_shape", {})},
    **{
        table: {f"{table}_keeps": ("keeps_most_rows", {}), f"{table}_is_filled": ("filled_for_most", {})}
        for table in ("halved", "less_than_halved", "small", "come_later", "not_counted")
    },
    "none_declared": {"anything_has_shape": ("has_shape", {})},
}
SINGULAR = {
    "undeclared": "{{ undeclared_columns(source('greenery', 'shapes'), {'a': 1, 'b': 1}) }}",
    "all_undeclared": "{{ undeclared_columns(source('greenery', 'shapes'), {}) }}",
    "dates": """
        {%- set tables = [('moments', 'id', ['began', 'ended']), ('visits', 'id', ['at'])] -%}
        {{ dates_where(tables, "{} > timestamp '2026-01-09'") }}
    """,
    "figures": """
        {%- set one, other = source('greenery', 'numbers'), source('greenery', 'pairs') -%}
        {%- set third = source('greenery', 'nothings') -%}
        {{ figures_agree({
            'rows': [(one, 'count(*)', 'id'), (other, 'count(*)', 'a')],
            'none': [(one, "sum(number) filter (where id = 'gone')", none), (third, 'count(*)', none)],
            'ids': [(one, 'count(number)', none), (other, 'count(distinct a) + 6', none)],
        }) }}
    """,
}
ROWS = """
    create table ten as select n from generate_series(1, 10) as n;
    create table truths (id, told) as values ('yes', true), ('no', false), ('unknown', null);

    create table dozens (at timestamp, told boolean);
    -- Ten rows are judged and nine are not; half of them is not most.
    insert into dozens select '2021-03-10 23:00', case when n > 6 then true when n > 1 then false end from ten;
    insert into dozens select '2021-03-09', n > 5 from ten;
    insert into dozens select '2021-03-08', false from ten where n < 10;
    -- Nothing that is a week older than the newest.
    insert into dozens select timestamp '2021-03-04', false from ten union all select '2021-03-03', false from ten;
    insert into dozens select null, false from ten;

    create table weighed (kind text, at timestamp, told boolean, amount integer);
    insert into weighed select 'half', '2021-03-09', n > 5, 1 from ten;
    insert into weighed select 'half', '2021-03-10', n > 5, 1 from ten;
    insert into weighed select 'three heavy', '2021-03-10', n > 3, case when n > 3 then 5 else 30 end from ten;
    insert into weighed select 'one', '2021-03-10', n > 1, case when n > 1 then 10 else 70 end from ten;
    insert into weighed select 'as heavy', '2021-03-10', n > 1, case when n > 1 then 10 else 90 end from ten;

    create table numbers (id text, number numeric);
    insert into numbers values ('nan', 'NaN'), ('inf', 'Infinity'), ('-inf', '-Infinity'), ('null', null), ('zero', 0),
        ('high', 999999999.99), ('too high', 1000000000), ('low', -999999999.99), ('too low', -1000000000),
        ('half', 0.5);

    create table ids (id text, other text, person text);
    insert into ids values ('a', ' ', 'ann'), ('b', E'\\u200b', 'bob'), ('c', repeat('x', 1001), 'cid'),
        ('d', repeat('x', 1000), 'dan'), ('e', null, 'eve'), (E'\\t', 'fine', 'fay'), ('g', 'x ', 'gus'),
        ('', 'fine', 'hal');

    create table zip_codes (id, country, zip_code) as values ('right', 'usa ', '02134'), ('short', 'usa', '213'),
        ('small', 'Canada', 'k1a 0b1'), ('none', 'usa', null), ('far', 'Atlantis', '1'), ('whose', null, 'x1'),
        ('words', 'Sweden', 'Åre 12');

    create table moments (id text, began timestamp, ended timestamp);
    insert into moments values
        ('five minutes', '2026-01-02 12:00', '2026-01-02 11:55'), ('six', '2026-01-02 12:00', '2026-01-02 11:54:30'),
        ('a date', '2026-01-02 23:00', '2026-01-02'), ('a former date', '2026-01-02 00:06', '2026-01-01'),
        ('no end', '2026-01-10', null), ('twice', '2026-01-10', '2026-01-11'), ('twice', '2026-01-10', '2026-01-11');

    create table visits (id text, at timestamp, of text);
    insert into visits values ('in', '2026-01-03 10:00', 'stay'), ('at most before', '2026-01-01 11:55', 'stay'),
        ('before', '2026-01-01 11:54:30', 'stay'), ('on the day', '2026-01-01', 'stay'),
        ('at most after', '2026-01-05 12:05', 'stay'), ('after', '2026-01-05 12:05:30', 'stay'),
        ('in the evening', '2026-01-06 20:00', 'day'), ('next day', '2026-01-07 00:06', 'day'),
        ('the day before', '2026-01-03', 'day'), ('of nothing', '2026-01-03', 'gone'), ('no moment', null, 'stay');
    create table stays (id text, began timestamp, ended timestamp);
    insert into stays values
        ('stay', '2026-01-01 12:00', '2026-01-05 12:00'), ('day', '2026-01-04 00:06', '2026-01-06');

    create table nothings (n integer);
    create table pairs (a text, b text);
    insert into pairs values
        ('x', 'Fern'), ('x', 'Fern'), ('y', ' fern'), ('x', 'moss'), ('y', 'ivy'), ('z', null), (null, 'x'),
        ('z', 'moss');

    create table words (word_id text, written text, secret text);
    insert into words values ('w1', 'Zoë', 'Zoë'), ('w2', ' x', 'J\u00c3\u00b6rg 12'), ('w3', 'N/A', '1.5e+9'),
        ('w4', '1900-01-01', ''), ('w5', '', null), ('_w6', 'J\ufffdrg', repeat('x', 50) || ' ');

    create table kinds (id text, email text, phone text, url text, price numeric);
    insert into kinds values ('right', 'o@x.example', '+44 (0)20 7946-0958 ext. 12', 'https://x/y', 7.12),
        ('wrong', 'x.example', '12', 'x', 7.123),
        ('spaced', 'o o@x.example', '12345', '/x y', 7.1), ('null', null, null, null, null),
        ('empty', '', '', '', 0), ('loud', 'O@X.EXAMPLE', '12345 EXT 1', '/X', 1);

    create table shapes (a text, gone text, b integer, d bigint, _loaded_at timestamptz, c date);
    alter table shapes drop column gone, drop column c;
    create table none_declared (a text);
"""
# What `ops` has counted of tables, whose rows nobody looks at: before two publications, and as a run begins.
COUNTED = """
    insert into ops.runs (run_id, release) values ('run', 'a release');
    insert into ops.publications (published_at, run_id, schema_oid, data_as_of)
    select now(), 'run', 0, now() from generate_series(1, 2);
    insert into ops.rows_of_raw (publication_id, table_name, rows, filled)
    select nullif(ordinal, 3), table_name, rows, filled::jsonb
    from (
        values
        (1, 'halved', 9000, '{}'), (2, 'halved', 200, '{"": {"": 1000, "a": 900, "b": 899, "c": 1000, "d": 0}}'),
        (3, 'halved', 100, '{"": {"": 200, "a": 100, "b": 0, "c": 99, "d": 0}, "new": {"": 100, "c": 0}}'),
        (1, 'less_than_halved', 1, '{}'),
        (2, 'less_than_halved', 200, '{"x": {"": 1000, "a": 900}, "y": {"": 1000, "a": 900}}'),
        (3, 'less_than_halved', 99, '{"x": {"": 100, "a": 49}, "y": {"": 100, "a": 50}}'),
        (2, 'small', 199, '{}'), (3, 'small', 0, '{}'),
        (3, 'come_later', 0, '{"": {"": 100, "a": 0}}'),
        (2, 'not_counted', 1000, '{}')
    ) as counted (ordinal, table_name, rows, filled)
"""


LONG = "longer than 1,000 bytes"
FOUND: dict[str, list[tuple]] = {
    "truths_hold": [("no",), ("unknown",)],
    "most_of_a_day": [
        (None, 59, 50),  # of all days
        (None, 10, 10),  # of none
        (date(2021, 3, 4), 10, 10),
        (date(2021, 3, 10), 10, 6),
    ],
    "most_of_the_weight": [
        ("three heavy", None, 10, 3),
        ("three heavy", date(2021, 3, 10), 10, 3),
    ],
    "numbers_are_finite": [("nan",), ("inf",), ("-inf",), ("too high",), ("too low",)],
    "numbers_are_not_negative": [("-Infinity", 1), ("-1000000000", 1), ("-999999999.99", 1)],
    "ids_are_ids": [
        (None, "id", "blank"),
        (None, "id", "blank"),
        ("a", "other", "blank"),
        ("b", "other", "blank"),
        ("c", "other", LONG),
    ],
    "people_have_ids": [(None, "other", "blank"), (None, "other", "blank"), (None, "other", LONG)],
    "zip_codes_are_some": [("short", "usa", "999"), ("words", "Sweden", "aaa 99")],
    "ends_after_its_begin": [("six",), ("a former date",)],
    "visits_within": [("before",), ("after",), ("next day",), ("the day before",)],
    "visits_after": [("before",), ("the day before",)],
    "nothings_are_there": [(0,)],
    "pairs_are_there": [],
    "pairs_are_one": [("x/Fern", 2)],
    "names_are_read_apart": [("fern", 2)],
    "words_are_words": [
        ("_w6", "written", "letters read in another encoding", "J\ufffdrg"),
        ("_w6", "word_id", "no code", "_w6"),
        ("_w6", "secret", "space at an end", "a" * 40),
        ("w2", "written", "space at an end", " x"),
        ("w2", "secret", "letters read in another encoding", "aaaaa 99"),
        ("w3", "written", "a placeholder", "N/A"),
        ("w3", "secret", "text that a number went through", "9.9a+9"),
        ("w4", "written", "a placeholder", "1900-01-01"),
    ],
    "kinds_are_kinds": [
        ("loud", "phone", "no phone number"),
        ("spaced", "email", "no e-mail address"),
        ("spaced", "url", "no url"),
        ("wrong", "email", "no e-mail address"),
        ("wrong", "phone", "no phone number"),
        ("wrong", "price", "more than two decimals"),
        ("wrong", "url", "no url"),
    ],
    "halved_keeps": [],
    "less_than_halved_keeps": [(99, 200)],
    "small_keeps": [],
    "come_later_keeps": [],
    "not_counted_keeps": [],
    "halved_is_filled": [("c", "a value in 99 of 200 new rows", 1000, 1000)],
    "less_than_halved_is_filled": [("a", "a value in 49 of 100 new rows (x)", 900, 1000)],
    "small_is_filled": [],
    "come_later_is_filled": [],
    "not_counted_is_filled": [],
    "shapes_have_shape": [("b", "bigint", "integer"), ("c", "date", "no such column")],
    "anything_has_shape": [],
    "undeclared": [("d", "bigint")],
    "all_undeclared": [("a", "text"), ("b", "integer"), ("d", "bigint")],
    "dates": [
        ("moments", "no end", "began"),
        *[("moments", "twice", "began"), ("moments", "twice", "ended")] * 2,
    ],
    "figures": [("rows", "numbers", 10), ("rows", "pairs", 8)],
}


@pytest.fixture(scope="session")
def own_kinds(tmp_path_factory: pytest.TempPathFactory, shop: Shop) -> Dbt:
    """The project, parsed for the warehouse that the environment names."""
    home = tmp_path_factory.mktemp("generic")
    for name in ("dbt_project.yml", "profiles.yml", "macros", "models/_groups.yml", "tests/generic"):
        (home / "dbt" / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        copy(PROJECT / name, home / "dbt" / name)
    to = {"to": "source('greenery', 'stays')"}
    tables = [
        {
            "name": table,
            "columns": DECLARED.get(table, []),
            "data_tests": [
                {kind: {"name": name, "arguments": arguments | (to if kind == "happens_within" else {})}}
                for name, (kind, arguments) in tests.items()
            ],
        }
        for table, tests in (TESTS | {"stays": {}}).items()
    ]
    sources = {"sources": [{"name": "greenery", "schema": "made_up", "tables": tables}]}
    (home / "dbt" / "models" / "sources.yml").write_text(yaml.safe_dump(sources))
    for name, text in SINGULAR.items():
        (home / "dbt" / "tests" / f"{name}.sql").write_text(text)
    return Dbt(home / "dbt", home / "work").parse()


@pytest.fixture(scope="module")
def compiled(own_kinds: Dbt, shop: Shop) -> Iterator[dict[str, str]]:
    """The SQL of each test, and beside it the tables as they are made up."""
    shop.query("drop schema if exists made_up cascade; create schema made_up")
    shop.query(f"set search_path to made_up; {ROWS}; reset search_path")
    shop.query("drop schema if exists ops cascade")
    migrate.upgrade()
    shop.query(COUNTED)
    done = own_kinds.results("compile")
    yield {one.node.name: one.node.compiled_code for one in done}
    shop.query("drop schema made_up, ops cascade")


@pytest.mark.parametrize("test", FOUND)
def test_finds_what_is_wrong_and_nothing_else(compiled: dict[str, str], shop: Shop, test: str) -> None:
    width = len(FOUND[test][0]) if FOUND[test] else 0
    rows = [row[:width] for row in shop.query(compiled[test])]
    if test == "numbers_are_not_negative":
        rows = [(str(number), count) for number, count in rows]
    assert sorted(rows, key=repr) == sorted(FOUND[test], key=repr)


def test_a_figure_has_a_key_in_each_relation_or_in_none(own_kinds: Dbt) -> None:
    places = [
        f"(source('greenery', '{table}'), 'count(*)', {key})" for table, key in (("pairs", "'a'"), ("ids", "none"))
    ]
    said: list[str] = []
    runner = dbtRunner(own_kinds.manifest, callbacks=[lambda event: said.append(event.info.msg)])
    own_kinds._invoke(runner, "compile", "--inline", f"{{{{ figures_agree({{'rows': [{', '.join(places)}]}}) }}}}")
    assert any("'rows' in inline_query has a key in one relation and none in another" in one for one in said), said


def test_every_kind_of_test_is_made_up_here(compiled: dict[str, str]) -> None:
    kinds = {kind for tests in TESTS.values() for kind, _ in tests.values()}
    assert kinds == {file.stem for file in (PROJECT / "tests" / "generic").glob("*.sql")}
    assert compiled.keys() == FOUND.keys()
