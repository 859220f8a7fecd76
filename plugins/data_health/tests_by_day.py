"""What each data test came to, day by day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from itertools import pairwise

from include.results import failures
from include.results.failures import BROKEN
from include.results.nodes import NodeResult
from plugins.data_health import stretches
from plugins.data_health.reading import Reading
from plugins.data_health.stretches import Stretch

PASS, WARN, FAIL = "pass", "warn", "fail"


@dataclass(frozen=True)
class DaysOfTest:
    """A test, or a source's freshness, by UTC day; a day with several runs counts as its last result.

    `passed`, `warned` and `failed` count days; on others it did not run. `flips` is how often it began or ceased to
    fail. The states of its stretches are pass, warn, fail, and none where it did not run.
    """

    unique_id: str
    kind: str
    name: str
    title: str
    passed: int
    warned: int
    failed: int
    flips: int
    stretches: tuple[Stretch, ...]

    @property
    def in_words(self) -> str:
        """The same in words: "passed 88 of 90 days; failed 3 Nov, 9 Nov"."""
        ran = self.passed + self.warned + self.failed
        bad = [
            f"{verb} {stretches.in_words(found)}"
            for verb, state in (("failed", FAIL), ("warned", WARN))
            if (found := [one for one in self.stretches if one.state == state])
        ]
        return "; ".join([f"passed {self.passed} of {ran} day{'' if ran == 1 else 's'}", *bad])


# What passed is nearly all there is, so its days come as a list a test; the order within a day is asked of the others.
_RAN = """
with days as materialized (
    select run_id, (started_at at time zone 'UTC')::date - %(first)s as day
    from ops.runs
    where started_at >= %(since)s
)

select
    results.unique_id,
    min(results.resource_type) as kind,
    min(results.name) as name,
    bool_or(results.status <> 'pass') as is_troubled,
    array_agg(days.day) as days
from ops.node_results as results
join days using (run_id)
where results.resource_type in ('test', 'freshness') and results.status <> 'skipped'
group by results.unique_id
"""
_LAST_WORDS = """
with days as materialized (
    select run_id, (started_at at time zone 'UTC')::date - %(first)s as day
    from ops.runs
    where started_at >= %(since)s
)

select distinct on (results.unique_id, days.day) results.unique_id, days.day, results.status
from ops.node_results as results
join days using (run_id)
where results.unique_id = any(%(troubled)s) and results.status <> 'skipped'
order by results.unique_id, days.day, results.recorded_at desc
"""


def of_tests(reading: Reading, first: date, last: date, since: datetime) -> list[DaysOfTest]:
    """All tests, and freshness of sources, that ran from the first day to the last; `since` is when the first began."""
    ran = reading.rows(_RAN, {"first": first, "since": since})
    troubled = [test.unique_id for test in ran if test.is_troubled]
    states: dict[str, dict[date, str]] = {unique_id: {} for unique_id in troubled}
    for word in reading.rows(_LAST_WORDS, {"first": first, "since": since, "troubled": troubled}):
        states[word.unique_id][first + timedelta(days=word.day)] = FAIL if word.status in BROKEN else word.status

    @cache  # most tests passed on the same days
    def passed(days: frozenset[int]) -> tuple[Stretch, ...]:
        return stretches.of({first + timedelta(days=day): PASS for day in days}, first, last)

    found = []
    for test in ran:
        days = stretches.of(states[test.unique_id], first, last) if test.is_troubled else passed(frozenset(test.days))
        result = NodeResult(test.unique_id, test.kind, test.name, "", None, None, None, 0.0, None)
        found.append(_test(result, failures.title(result, reading.facts), days))
    return found


def _test(result: NodeResult, title: str, found: tuple[Stretch, ...]) -> DaysOfTest:
    days = {state: sum(one.days for one in found if one.state == state) for state in (PASS, WARN, FAIL)}
    ran = [one.state == FAIL for one in found if one.state != stretches.NONE]
    flips = sum(before != after for before, after in pairwise(ran))
    return DaysOfTest(
        result.unique_id, result.resource_type, result.name, title, days[PASS], days[WARN], days[FAIL], flips, found
    )
