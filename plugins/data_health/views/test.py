"""A data test: what it wants to be so, the SQL that asks, and what the runs found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from include.results import failures
from include.results.failures import BROKEN, Failure, Owner
from plugins.data_health import nodes, results
from plugins.data_health.reading import Reading
from plugins.data_health.results import Day, Result, Standing
from plugins.data_health.views import answers
from plugins.data_health.views.answers import OneAnswer

DAYS = 90
RUNS = 30


@dataclass(frozen=True)
class FailedTest:
    """What the last run that found the test failing, or warning, said: its first failing rows without personal columns.

    `hidden` says that rows are kept back, since the tested column is personal.
    """

    result: Result
    failure: Failure
    hidden: bool


@dataclass(frozen=True)
class OneTest:
    """A data test of the dbt project as it is now.

    `title` says what it tests in short, `expects` what it wants to be so; only rows for which `where` holds are asked.
    It fails, or warns, where the count of failing rows is as `fails_if` and `warns_if` say. `on` are the names of the
    pages of what it tests. `days` are its last 30, `results` those of the runs of the last 90 days, the last one first.
    `sql` is what dbt ran last for it; where `has_run` is false, the code as it was written. `answers` are those in
    force to it, and to what it tests.
    """

    name: str
    unique_id: str
    title: str
    description: str
    expects: str
    column: str | None
    severity: str
    where: str | None
    fails_if: str
    warns_if: str
    file: str | None
    on: tuple[str, ...]
    owner: Owner | None
    standing: Standing
    days: tuple[Day, ...]
    results: tuple[Result, ...]
    last_failed: FailedTest | None
    sql: str | None
    has_run: bool
    answers: tuple[OneAnswer, ...]
    at: datetime


def read(reading: Reading, name: str) -> OneTest:
    """All that is known of it, by its name or its unique id. Raises LookupError where there is none."""
    facts, names = reading.facts, nodes.data_tests(reading.facts)
    unique_id = names.find(name, "data test")
    node, relations = facts.nodes[unique_id], nodes.relations(facts)
    config, tested = node["config"], facts.tested(unique_id)
    ran = results.history(reading, [unique_id], DAYS, with_rows=True)[unique_id]
    failed = next((row for row in ran if row.status in ("warn", *BROKEN)), None)
    sql = results.compiled_sql(reading, unique_id)
    return OneTest(
        name=names[unique_id],
        unique_id=unique_id,
        title=failures.title_of_test(unique_id, facts),
        description=node.get("description") or "",
        expects=failures.expectation(unique_id, facts),
        column=node.get("column_name"),
        severity=config["severity"].lower(),
        where=config.get("where"),
        fails_if=config.get("error_if") or "!= 0",
        warns_if=config.get("warn_if") or "!= 0",
        file=node.get("original_file_path"),
        on=tuple(relations[one] for one in tested if one in relations),
        owner=failures.owner(tested[0] if len(tested) == 1 else unique_id, facts),
        standing=results.standings(reading, [unique_id]).get(unique_id, Standing()),
        days=results.strip(ran, reading.at.date()),
        results=tuple(results.result(row, facts) for row in ran[:RUNS]),
        last_failed=FailedTest(
            result=results.result(failed, facts),
            failure=results.failure(failed, facts),
            hidden=facts.tests_personal(unique_id),
        )
        if failed
        else None,
        sql=sql or node.get("raw_code"),
        has_run=sql is not None,
        answers=answers.about(reading, unique_id, *tested),
        at=reading.at,
    )
