"""What `make mutants` changes, by a text of each kind. `tests/dbt/test_mutants.py` sees that it judges them right."""

from __future__ import annotations

import pytest

from tests.mutants.change import mutants


@pytest.mark.parametrize(
    ("kind", "code", "becomes"),
    [
        ("operator", "where a < b", ["where a <= b"]),
        ("operator", "select * from a", []),
        ("operator", "when not is_late", ["when is_late"]),
        ("operator", "{%- set a = 1 %}", []),
        ("join", "from a\nleft join b", ["from a\ninner join b"]),
        ("filter", "from a\nwhere b", ["from a\nwhere true or b"]),
        ("filter", "from a\n    {{ only_changed('cast(b as date)') }}\n", ["from a\n    \n"]),
        ("filter", "on a.b = c.b\n    and a.d = c.d\n", ["on a.b = c.b\n"]),
        ("key", "(partition by a, b)", ["(partition by b)"]),
        ("key", "(order by a)", ["(order by a desc)"]),
        ("constant", "coalesce(a.b, 0)", ["coalesce(a.b, 1)"]),
        ("function", "count(distinct a)", []),
        ("interval", "dbt.dateadd('day', days)", ["dbt.dateadd('hour', days)"]),
        ("constant", "where a < 100\n", ["where a < 101\n"]),
        ("constant", "cast(a as numeric(16, 2))", []),
        ("constant", "where a = 'b'", ["where a = 'b_'"]),
        ("branch", "{%- if a -%}", ["{%- if not (a) -%}"]),
        (
            "branch",
            "b as (\n\n    select 1\n    union all\n    select 2\n    union all\n    select 3\n\n)",
            [
                "b as (\n\n    select 2\n    union all\n    select 3\n\n)",
                "b as (\n\n    select 1\n    union all\n    select 3\n\n)",
                "b as (\n\n    select 1\n    union all\n    select 2\n\n)",
            ],
        ),
        ("column", "    a.b,\n    a.c as d\n", ["    a.c as b,\n    a.c as d\n", "    a.b,\n    a.b as d\n"]),
        ("operator", "-- a < b\n{# a < b #}\n{{ config(\n    a='b < c'\n) }}\n", []),
    ],
)  # fmt: skip
def test_a_mutant_is_one_change(kind: str, code: str, becomes: list[str]):
    assert [one.of(code) for one in mutants("a", code) if one.kind == kind] == becomes


def test_no_two_mutants_are_alike():
    code = "select\n    a,\n    b\nfrom c\nwhere d < 1 and e = 2\n"
    changed = [one.of(code) for one in mutants("a", code)]
    assert len(changed) == len({*changed}) > 3
    assert code not in changed


def test_a_mutant_is_shown_by_its_line_and_the_one_before():
    code = "select b\nfrom c\nwhere d < e\ngroup by b\n"
    mutant = next(mutants("a", code))
    assert (mutant.name, mutant.shown(code)) == ("a.filter.1", "from c where d < e -> from c where true or d < e")
