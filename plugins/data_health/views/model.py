"""A model, snapshot, seed or source: what it is, whether it is well, what it is made of and by what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from include.dbt_project import helpers
from include.results import failures
from include.results.failures import Owner
from include.unusual.series import Measure, Series
from plugins.data_health import bands, catalog, nodes, observed, results
from plugins.data_health.bands import DayOfSeries
from plugins.data_health.catalog import Relation
from plugins.data_health.nodes import Names
from plugins.data_health.observed import Watched
from plugins.data_health.reading import Reading
from plugins.data_health.results import Day, Result, Standing
from plugins.data_health.views import answers
from plugins.data_health.views.answers import OneAnswer

DAYS = 90
RUNS = 30


@dataclass(frozen=True)
class TestOnIt:
    """A data test on it. `name` names its page; `expects` is what it wants to be so; `days` are its last 30."""

    name: str
    title: str
    column: str | None
    expects: str
    severity: str
    standing: Standing
    days: tuple[Day, ...]


@dataclass(frozen=True)
class ColumnOfIt:
    """A column. `type` is the declared one, else the one in the warehouse; `tests` name the pages of those on it.

    `there` says whether the warehouse has it now; None where the relation itself is not there.
    """

    name: str
    type: str | None
    description: str
    personal: bool
    tests: tuple[TestOnIt, ...]
    there: bool | None


@dataclass(frozen=True)
class Model:
    """A model, snapshot, seed or source of the dbt project as it is now.

    `live` is what the warehouse has of it: where it is, rows as estimated, size in bytes; None where it has nothing.
    `upstream` and `downstream` are what it reads and what reads it, by the names of their pages; `comes_from` and
    `leads_to` the same where one looks through helpers at what is behind them. `exposures` are what people look at
    that stands on it. `results` are those of the runs of the last 90 days, the last one first (of a
    source: its freshness). `sql` is what dbt ran last for it; where `has_run` is false, the code as it was written;
    None of sources. `watched` are the series that are watched of it, `rows` the days of the one of its rows. `answers`
    are those in force to it and to its series.
    """

    name: str
    kind: str
    unique_id: str
    folder: str
    grain: str
    description: str
    materialized: str | None
    file: str | None
    group: str | None
    owner: Owner | None
    live: Relation | None
    columns: tuple[ColumnOfIt, ...]
    tests: tuple[TestOnIt, ...]
    results: tuple[Result, ...]
    upstream: tuple[str, ...]
    downstream: tuple[str, ...]
    comes_from: tuple[str, ...]
    leads_to: tuple[str, ...]
    exposures: tuple[str, ...]
    sql: str | None
    has_run: bool
    answers: tuple[OneAnswer, ...]
    watched: tuple[Watched, ...]
    rows: tuple[DayOfSeries, ...]
    at: datetime

    @property
    def helpers(self) -> tuple[str, ...]:
        """The helpers among what it reads and what reads it."""
        return helpers.apart((*self.upstream, *self.downstream))[1]


def read(reading: Reading, name: str) -> Model:
    """All that is known of it. Raises LookupError where the dbt project has none of that name."""
    facts, names = reading.facts, nodes.relations(reading.facts)
    unique_id = names.find(name, "model, snapshot or source")
    node = nodes.node(facts, unique_id)
    group = facts.group_of(unique_id)
    live = catalog.relations(reading, [unique_id]).get(unique_id)
    of_it = (unique_id, f"freshness.{unique_id}")
    ran = results.history(reading, of_it, DAYS)
    sql = results.compiled_sql(reading, unique_id)
    tests = _tests(reading, unique_id)
    return Model(
        name=names[unique_id],
        kind=node["resource_type"],
        unique_id=unique_id,
        folder=nodes.folder(facts, unique_id),
        grain=nodes.grain(node.get("description")),
        description=node.get("description") or "",
        materialized=node["config"].get("materialized") if "config" in node else None,
        file=node.get("original_file_path"),
        group=group["name"] if group else None,
        owner=failures.owner(unique_id, facts),
        live=live,
        columns=_columns(node, live, tests, facts.personal_columns),
        tests=tests,
        results=tuple(results.result(row, facts) for one in of_it for row in ran[one][:RUNS]),
        upstream=_named(names, facts.parents(unique_id)),
        downstream=_named(names, facts.children(unique_id)),
        comes_from=_named(names, _behind_helpers(names, facts.parents, unique_id)),
        leads_to=_named(names, _behind_helpers(names, facts.children, unique_id)),
        exposures=failures.exposures(unique_id, facts),
        sql=sql or node.get("raw_code"),
        has_run=sql is not None,
        answers=answers.about(reading, *of_it),
        watched=observed.watched(reading, unique_id),
        rows=bands.of_newest(reading, Series(unique_id, Measure.ROWS), DAYS),
        at=reading.at,
    )


def _behind_helpers(names: Names, step: Callable[[str], list[str]], unique_id: str) -> set[str]:
    """What is next in a direction, where a helper counts as what is behind it."""
    found, seen, left = set(), set(), list(step(unique_id))
    while left:
        one = left.pop()
        if one in seen or one not in names:
            continue
        seen.add(one)
        if helpers.is_helper(names[one]):
            left += step(one)
        else:
            found.add(one)
    return found


def _named(names: Names, unique_ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({names[unique_id] for unique_id in unique_ids if unique_id in names}))


def _tests(reading: Reading, unique_id: str) -> tuple[TestOnIt, ...]:
    facts, names = reading.facts, nodes.data_tests(reading.facts)
    tests = nodes.tests_by_node(facts)[unique_id]
    ids = [test.unique_id for test in tests]
    standings = results.standings(reading, ids)
    ran = results.history(reading, ids, results.STRIP_DAYS)
    return tuple(
        TestOnIt(
            name=names[test.unique_id],
            title=failures.title_of_test(test.unique_id, facts),
            column=facts.nodes[test.unique_id].get("column_name"),
            expects=failures.expectation(test.unique_id, facts),
            severity=test.severity,
            standing=standings.get(test.unique_id, Standing()),
            days=results.strip(ran[test.unique_id], reading.at.date()),
        )
        for test in tests
    )


def _columns(
    node: dict[str, Any], live: Relation | None, tests: tuple[TestOnIt, ...], personal: frozenset[str]
) -> tuple[ColumnOfIt, ...]:
    """Those that are declared, and those that the warehouse has besides."""
    declared = node.get("columns") or {}
    there = {column.name: column.type for column in live.columns} if live else {}
    return tuple(
        ColumnOfIt(
            name=name,
            type=declared.get(name, {}).get("data_type") or there.get(name),
            description=declared.get(name, {}).get("description") or "",
            personal=name in personal,
            tests=tuple(test for test in tests if test.column == name),
            there=name in there if live else None,
        )
        for name in dict.fromkeys((*declared, *there))
    )
