"""Tests: every data test of the dbt project and how it stands, the worst first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from include.results import failures
from plugins.data_health import nodes, results, runs
from plugins.data_health.reading import Reading
from plugins.data_health.results import Standing, TestState
from plugins.data_health.runs import Run

STATES: tuple[TestState, ...] = ("fail", "error", "warn", "never", "pass")


@dataclass(frozen=True)
class ListedTest:
    """A data test.

    `name` names its page, `on` those of what it tests. `expects` is what it wants to be so. `in_last_run` is whether
    that run asked it.
    """

    name: str
    title: str
    expects: str
    on: tuple[str, ...]
    severity: str
    standing: Standing
    in_last_run: bool


@dataclass(frozen=True)
class Tests:
    """The data tests of the dbt project as it is now, the worst first; `state` is which were asked for, None for all.

    `counts` says how many tests there are in each state, all of them counted. `run` is the last run.
    """

    state: TestState | None
    counts: dict[TestState, int]
    run: Run | None
    tests: tuple[ListedTest, ...]


def read(reading: Reading, state: TestState | None = None) -> Tests:
    """The tests that stand so, all of them where no state is asked for."""
    facts, run = reading.facts, runs.newest(reading)
    names, relations = nodes.data_tests(facts), nodes.relations(facts)
    standings = results.standings(reading, list(names))
    words = results.last_words(reading, run.run_id) if run else {}
    tests = [
        ListedTest(
            name=names[test.unique_id],
            title=failures.title_of_test(test.unique_id, facts),
            expects=failures.expectation(test.unique_id, facts),
            on=tuple(relations[one] for one in facts.tested(test.unique_id) if one in relations),
            severity=test.severity,
            standing=standings.get(test.unique_id, Standing()),
            in_last_run=test.unique_id in words and words[test.unique_id].status != "skipped",
        )
        for test in facts.data_tests
    ]
    counts = Counter(test.standing.state for test in tests)
    tests.sort(key=lambda test: (STATES.index(test.standing.state), -test.standing.failed_runs, test.title))
    return Tests(
        state=state,
        counts={one: counts[one] for one in STATES},
        run=run,
        tests=tuple(test for test in tests if state in (None, test.standing.state)),
    )
