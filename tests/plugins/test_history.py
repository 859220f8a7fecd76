"""Over time: each test by day, the worst first; the runs, the figures, and what takes long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from include.dbt_project.manifest import Manifest
from include.results import figures, node_results, publications, runs
from include.results.figures import Figure, Figures
from include.results.nodes import NodeResult
from include.words import Unit
from plugins.data_health import pages, stretches
from plugins.data_health.stretches import Stretch
from plugins.data_health.times import OTHER_TASKS
from plugins.data_health.views import history
from plugins.data_health.views.history import History
from tests.include.results import project

pytestmark = pytest.mark.db

FACTS = replace(
    project.FACTS,
    metrics={
        name: {"name": name, "label": f"All {name}", "config": {"meta": {"in_message": place}}}
        for place, name in enumerate(("orders", "revenue"))
    },
)
# Whatever hour it is, and although midnight comes while tests run.
NOW = datetime.now(UTC)
TODAY = NOW.date()
UNIQUE, STATUS = "test.p.fact_unique", "test.p.fact_status"


@pytest.fixture
def over_time(ask: Callable[..., Any]) -> Callable[[], History]:
    """What the page says of the last 30 days, of a project that a test may name."""
    return lambda facts=FACTS, days=30: ask(history.read, days, facts=facts, at=NOW)


def a_run(ops: Connection, days_ago: int, states: dict[str, str], *, hour: int = 6, task: str = "task") -> str:
    """A run of a day, with what became of each test; it was published where none failed."""
    began = datetime.combine(TODAY - timedelta(days=days_ago), time(hour), UTC)
    run_id = f"run of {began:%Y-%m-%d %H}"
    runs.begin(ops, run_id, "release")
    results = [
        NodeResult(test, "test", test.split(".")[-1], state, "error", 1, "", 0.1, None)
        for test, state in states.items()
    ]
    node_results.record(ops, run_id, task, 1, results)
    with ops.cursor() as cursor:
        cursor.execute("update ops.runs set started_at = %s where run_id = %s", (began, run_id))
        cursor.execute("update ops.node_results set recorded_at = %s where run_id = %s", (began, run_id))
        if "fail" not in states.values():
            publications.note(cursor, run_id, "analytics", as_of=None, decision=None, notes=[])
        else:
            cursor.execute(
                "insert into ops.messages (run_id, kind, headline, body, blocks) values (%s, 'failed', '', '', '[]')",
                (run_id,),
            )
    return run_id


def days_of(found: tuple[Stretch, ...]) -> list[tuple[int, str]]:
    return [(one.days, one.state) for one in found]


def test_a_day_without_a_run_is_told_apart_from_one_that_passed(ops: Connection, over_time: Callable) -> None:
    for days_ago in (4, 3, 1):
        a_run(ops, days_ago, {UNIQUE: "pass"})
    [test] = over_time().steady
    assert days_of(test.stretches) == [(25, "none"), (2, "pass"), (1, "none"), (1, "pass"), (1, "none")]
    assert test.in_words == "passed 3 of 3 days"


def test_the_last_word_of_a_day_counts_and_what_was_skipped_is_none(ops: Connection, over_time: Callable) -> None:
    a_run(ops, 2, {UNIQUE: "fail", STATUS: "pass"}, hour=6)
    a_run(ops, 2, {UNIQUE: "pass", STATUS: "fail"}, hour=9)
    a_run(ops, 2, {UNIQUE: "skipped", STATUS: "skipped"}, hour=12)
    [failed], [passed] = over_time().tests, over_time().steady
    assert (failed.name, failed.failed, passed.name, passed.passed) == ("fact_status", 1, "fact_unique", 1)


def test_what_failed_or_flapped_most_is_on_top(ops: Connection, over_time: Callable) -> None:
    three = ("test.p.dim_unique", UNIQUE, STATUS)
    for days_ago, states in enumerate([("pass", "fail", "warn"), ("fail", "pass", "warn"), ("fail", "fail", "pass")]):
        a_run(ops, days_ago, dict(zip(three, states, strict=True)))
    tests = over_time().tests
    assert [(test.name, test.failed, test.flips) for test in tests] == [
        ("fact_unique", 2, 2),
        ("dim_unique", 2, 1),
        ("fact_status", 0, 0),
    ]


def test_a_test_says_in_words_when_it_failed() -> None:
    found = stretches.of(
        {date(2026, 11, day): "fail" for day in (3, 5, 6)} | {date(2026, 10, 31): "fail", date(2026, 11, 1): "fail"},
        date(2026, 10, 30),
        date(2026, 11, 7),
    )
    assert stretches.in_words(one for one in found if one.state == "fail") == "31 Oct–1 Nov, 3 Nov, 5–6 Nov"


def test_of_many_failures_the_last_are_named_and_the_others_counted() -> None:
    every_other = [Stretch(date(2026, 11, day), date(2026, 11, day), "fail") for day in range(1, 21, 2)]
    assert stretches.in_words(every_other) == "9 Nov, 11 Nov, 13 Nov, 15 Nov, 17 Nov, 19 Nov and 4 days before"


def test_the_runs_of_a_day_are_what_the_last_of_them_was(ops: Connection, over_time: Callable) -> None:
    a_run(ops, 1, {UNIQUE: "fail"}, hour=6)
    a_run(ops, 1, {UNIQUE: "pass"}, hour=9)
    a_run(ops, 0, {UNIQUE: "fail"}, hour=0)
    assert days_of(over_time().runs) == [(28, "none"), (1, "published"), (1, "failed")]
    assert over_time().failed_days == (TODAY,)
    assert over_time().runs_in_words == f"published on 1 of 2 days; failed {TODAY:%-d %b}"


def test_runs_before_those_days_are_left_out(ops: Connection, over_time: Callable) -> None:
    a_run(ops, 30, {UNIQUE: "fail"})
    a_run(ops, 29, {STATUS: "pass"})
    found = over_time()
    assert ([test.name for test in found.steady], found.tests) == (["fact_status"], ())
    assert [test.name for test in over_time(days=90).tests] == ["fact_unique"]


def test_the_metrics_end_with_the_last_day_that_was_over(ops: Connection, over_time: Callable) -> None:
    a_run(ops, 0, {UNIQUE: "pass"}, hour=0)
    with ops.cursor() as cursor:
        cursor.execute("create table analytics.daily_metrics (day date, metric text, value numeric(16, 4))")
        cursor.execute("grant usage on schema analytics to greenery_health")
        cursor.execute("grant select on analytics.daily_metrics to greenery_health")
        cursor.execute(
            "insert into analytics.daily_metrics select %s::date - n, 'orders', n from generate_series(0, 99) as n",
            (TODAY,),
        )
    orders, revenue = over_time().metrics
    assert (orders.values[0].value, orders.values[-1].value, len(orders.values)) == (30, 1, 30)
    assert orders.values[-1].day == TODAY - timedelta(days=1)
    assert revenue.values == ()
    assert "All orders by day" in pages.render("history.html", answer=over_time())


def test_the_metrics_begin_with_the_first_order_and_end_with_the_last(ops: Connection, over_time: Callable) -> None:
    a_run(ops, 0, {UNIQUE: "pass"}, hour=0)
    with ops.cursor() as cursor:
        cursor.execute("create table analytics.daily_metrics (day date, metric text, value numeric(16, 4))")
        cursor.execute("grant usage on schema analytics to greenery_health")
        cursor.execute("grant select on analytics.daily_metrics to greenery_health")
        cursor.execute(
            "insert into analytics.daily_metrics select %s::date - n, 'orders', (n between 5 and 8)::integer"
            " from generate_series(1, 20) as n",
            (TODAY,),
        )
    orders, _ = over_time().metrics
    assert [one.day for one in orders.values] == [TODAY - timedelta(days=n) for n in (8, 7, 6, 5)]


@pytest.mark.parametrize("made", ["", "create table analytics.daily_metrics (month date)"])
def test_another_shops_marts_are_said_to_be_others(ops: Connection, over_time: Callable, made: str) -> None:
    a_run(ops, 0, {UNIQUE: "fail"}, hour=0)
    with ops.cursor() as cursor:
        cursor.execute(f"{made}; grant usage on schema analytics to greenery_health")
        cursor.execute("grant select on all tables in schema analytics to greenery_health")
    found = over_time()
    assert found.metrics is None
    page = pages.render("history.html", answer=found)
    assert "There are no daily figures" in page
    assert "unique on fact_orders.order_id" in page


def test_seconds_are_told_by_task_and_those_of_the_others_together(ops: Connection, over_time: Callable) -> None:
    runs.begin(ops, "run", "release")
    for number in range(10):
        model = NodeResult(f"model.p.m{number}", "model", f"m{number}", "success", None, None, "", number, 1)
        node_results.record(ops, "run", f"transform.m{number}_model_build", 1, [model])
        node_results.record(ops, "run", f"transform.m{number}_model_build", 2, [model])
    found = over_time()
    assert found.task_names == ("m9", "m8", "m7", "m6", "m5", "m4", "m3", OTHER_TASKS)
    [(_, seconds)] = found.seconds_by_run
    assert (seconds["m9"], seconds[OTHER_TASKS]) == (18, 2 * (0 + 1 + 2))
    assert [(model.name, model.mean, model.builds) for model in found.models][:2] == [("m9", 9, 2), ("m8", 8, 2)]


def test_the_repeat_rate_is_what_each_run_stated(ops: Connection, over_time: Callable) -> None:
    for days_ago, rate in ((2, 0.5), (1, 0.75)):
        figure = Figure("repeat_rate", "Repeat rate", Unit.PERCENT, rate)
        figures.keep(ops, a_run(ops, days_ago, {UNIQUE: "pass"}), Figures(repeat_rate=figure))
    assert [one.value for one in over_time().repeat_rate] == [0.5, 0.75]


def test_the_page_escapes_what_it_is_told(ops: Connection, over_time: Callable) -> None:
    a_run(ops, 1, {"test.p.<script>alert(1)</script>": "fail"}, task="</script><script>alert(2)</script>")
    page = pages.render("history.html", answer=over_time(facts=Manifest({}, {})))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_before_the_first_run_the_page_says_so(ops: Connection, over_time: Callable) -> None:
    assert "No run began in these days" in pages.render("history.html", answer=over_time())
