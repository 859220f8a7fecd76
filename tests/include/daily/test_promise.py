"""A promise that will be broken is told before: by what always comes, when a run begins, and how long it takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection

from include.daily import promise
from include.daily.promise import AtRisk, Risk, time_left, usual
from include.results import publications
from include.slack import send
from include.slack.channels import to_all
from include.slack.message import Message

DAY = timedelta(days=1)
DUE = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)  # a Tuesday
BY = DUE + timedelta(hours=1)


def at(text: str) -> datetime:
    """A time of the day on which it is due, in UTC."""
    return datetime.fromisoformat(f"2026-11-24T{text}:00+00:00")


def daily(days: int, minutes: float = -25, spread: float = 5) -> dict[datetime, datetime | None]:
    """What came so many minutes after the tick of each of the days before, a little earlier or later."""
    ticks = [DUE - number * DAY for number in range(days, 0, -1)]
    return {tick: tick + timedelta(minutes=minutes + spread * (tick.day % 3 - 1)) for tick in ticks}


def test_what_comes_each_day_is_missed_some_time_after_it_usually_came() -> None:
    wont = usual(daily(30), DUE)
    assert wont.by == at("05:40")
    assert at("05:50") <= wont.missed_from <= at("06:00")


def test_what_comes_at_odd_times_is_missed_later() -> None:
    assert usual(daily(30, spread=60), DUE).missed_from - usual(daily(30, spread=60), DUE).by >= timedelta(hours=2)


def test_what_comes_long_before_the_run_may_come_an_hour_later_where_clocks_change() -> None:
    early = usual(daily(30, minutes=-240), DUE)
    assert early.missed_from == early.by + timedelta(minutes=70)
    assert usual(daily(30, minutes=-80, spread=0), DUE).missed_from == at("05:30")


def test_one_late_day_does_not_change_what_is_usual() -> None:
    came = daily(30) | {DUE - 3 * DAY: DUE - 3 * DAY + timedelta(hours=9)}
    assert usual(came, DUE) == usual(daily(30), DUE)


def test_nothing_is_usual_before_two_weeks_have_passed() -> None:
    assert usual(daily(13), DUE) is None
    assert usual(daily(14), DUE)
    assert usual({}, DUE) is None


def test_what_comes_once_a_week_is_awaited_on_its_day_alone() -> None:
    weekly = {tick: came if tick.weekday() == 1 else None for tick, came in daily(60).items()}
    assert usual(weekly, DUE).by == at("05:40")
    assert usual(weekly | {DUE: None}, DUE + DAY) is None


def test_what_often_fails_to_come_is_not_awaited() -> None:
    assert usual({tick: came if tick.day % 4 else None for tick, came in daily(60).items()}, DUE) is None


def test_a_run_has_before_it_what_a_task_that_is_not_done_usually_has() -> None:
    spent = {"sources": [600] * 10, "marts": [300] * 9 + [9000], "publish": [0] * 10, "rare": [9000] * 3}
    assert time_left(spent, set()) == timedelta(minutes=10)
    assert time_left(spent, {"sources"}) == timedelta(minutes=5)
    assert time_left({}, set()) is None


@pytest.fixture
def past(db: Connection) -> Connection:
    """A warehouse with thirty days of loads at 05:40, runs at 06:00, and publishes at 06:20."""
    with db.cursor() as cursor:
        cursor.execute(
            """
            create table raw.loads (
                table_name text, loaded_at timestamptz, rows bigint, loaded_from text not null default ''
            );
            create temporary view days as
                select 'run ' || day as run_id, timestamptz '2026-11-24 06:00+00' - day * interval '1 day' as tick
                from generate_series(1, 30) as day;
            insert into raw.loads
                select name, tick - interval '20 minutes', 0 from days, unnest(array['orders', 'events']) as name;
            insert into ops.runs (run_id, release, started_at) select run_id, 'x', tick from days;
            insert into ops.node_results (
                run_id, task_id, attempt, unique_id, resource_type, name, status, seconds, recorded_at
            )
                select run_id, task, 1, task, 'model', task, 'success', 1, tick + minutes * interval '1 minute'
                from days, (values ('check_sources', 1), ('transform.a', 5)) as tasks (task, minutes);
            insert into ops.publications (run_id, published_at, data_as_of, schema_oid)
                select run_id, tick + interval '20 minutes', tick + interval '20 minutes', 1 from days
            """
        )
    return db


def load(db: Connection, when: str, *tables: str) -> None:
    with db.cursor() as cursor:
        for table in tables:
            cursor.execute("insert into raw.loads (table_name, loaded_at, rows) values (%s, %s, 0)", (table, at(when)))


def begin(db: Connection, when: str, *done: str) -> None:
    with db.cursor() as cursor:
        cursor.execute("insert into ops.runs (run_id, release, started_at) values ('today', 'x', %s)", (at(when),))
        for task in done:
            cursor.execute(
                "insert into ops.node_results"
                " (run_id, task_id, attempt, unique_id, resource_type, name, status, seconds)"
                " values ('today', %s, 1, %s, 'model', %s, 'success', 1)",
                (task, task, task),
            )


def publish(db: Connection, when: str) -> None:
    with db.cursor() as cursor:
        cursor.execute(
            "insert into ops.publications (run_id, published_at, data_as_of, schema_oid) values ('today', %s, %s, 1)",
            (at(when), at(when)),
        )


def why(db: Connection, when: str) -> str | None:
    found = promise.risk(db, at(when), DUE - DAY + timedelta(minutes=20))
    return found.why if found else None


@pytest.mark.db
def test_a_table_that_is_not_there_is_named_before_the_run_is_due(past: Connection) -> None:
    load(past, "05:40", "events")
    assert why(past, "05:45") is None
    found = promise.risk(past, at("05:55"), DUE - DAY + timedelta(minutes=20))
    assert found == Risk(DUE, BY, "raw.orders usually comes by 05:40 UTC and is not there", ("orders",), DUE - DAY)
    load(past, "05:56", "orders")
    assert why(past, "05:57") is None


@pytest.mark.db
@pytest.mark.parametrize("schedule", ["0 * * * *", "0 0 1 1 *"])
def test_runs_by_the_hour_and_by_the_year_have_no_usual_day(
    past: Connection, monkeypatch: pytest.MonkeyPatch, schedule: str
) -> None:
    monkeypatch.setenv("GREENERY_SCHEDULE", schedule)
    assert why(past, "05:55") is None


@pytest.mark.db
def test_what_came_is_there_though_no_run_began_the_day_before(past: Connection) -> None:
    with past.cursor() as cursor:
        cursor.execute("delete from ops.publications where run_id = 'run 1'; delete from ops.node_results")
        cursor.execute("delete from ops.runs where run_id = 'run 1'")
    load(past, "05:40", "events", "orders")
    begin(past, "06:00")
    assert why(past, "06:30") is None


@pytest.mark.db
def test_tables_that_are_missed_together_are_told_together(past: Connection) -> None:
    assert why(past, "05:55") == "raw.events and raw.orders usually come by 05:40 UTC and are not there"


@pytest.mark.db
def test_a_shop_that_is_loaded_by_the_run_itself_awaits_no_table(
    past: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_DATABASE_URL", "postgresql://shop/shop")
    assert why(past, "05:59") is None


@pytest.mark.db
def test_a_run_that_does_not_begin_is_told(past: Connection) -> None:
    load(past, "05:40", "events", "orders")
    assert why(past, "06:05") is None
    assert why(past, "06:15") == "No run has begun, and one usually begins by 06:00 UTC"


@pytest.mark.db
def test_a_run_that_is_too_slow_is_told_when_its_usual_time_left_does_not_fit(past: Connection) -> None:
    load(past, "05:40", "events", "orders")
    begin(past, "06:00", "check_sources")
    assert why(past, "06:44") is None
    assert why(past, "06:46") == "Run today is slower than usual: from where it is it usually takes 15 minutes more"


@pytest.mark.db
def test_what_is_held_or_published_is_at_no_risk(past: Connection) -> None:
    assert promise.risk(past, at("06:30"), at("06:20")) is None
    publications.decide(past, publications.HOLD, None, "ada", "the auditors are here")
    assert why(past, "06:30") is None


@pytest.mark.db
def test_a_run_that_said_that_it_failed_is_at_no_risk_any_more(past: Connection) -> None:
    """Though a table is missed as well."""
    load(past, "05:40", "events")
    begin(past, "06:00")
    assert why(past, "06:10") == "raw.orders usually comes by 05:40 UTC and is not there"
    send.keep(past, "today", to_all(Message("failed", "it failed", "it failed", [])))
    assert why(past, "06:10") is None


@pytest.mark.db
def test_a_schedule_that_was_taken_away_promises_nothing(past: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENERY_SCHEDULE", "")
    assert why(past, "05:59") is None


@pytest.mark.db
@pytest.mark.parametrize(
    ("came", "published", "was_right"),
    [
        (None, "06:20", True),  # without the orders
        ("05:58", "06:20", False),
        ("05:58", "07:10", True),
        ("05:58", None, True),
        ("06:05", "06:20", True),  # after the run began
    ],
)
def test_a_warning_was_right_where_the_data_was_not_there_in_time(
    past: Connection, came: str | None, published: str | None, was_right: bool
) -> None:
    load(past, "05:40", "events")
    warned = promise.risk(past, at("05:55"), None)
    assert promise.note(past, warned, at("05:55"))
    assert not promise.note(past, warned, at("05:56"))
    assert promise.risk(past, at("06:00"), None) is None, "it is told once"
    if came:
        load(past, came, "orders")
    begin(past, "06:00")
    if published:
        publish(past, published)
    promise.settle(past, at("06:59"))
    assert [one.was_right for one in promise.warnings(past)] == [None]
    promise.settle(past, BY)
    assert promise.warnings(past) == [AtRisk(DUE, BY, at("05:55"), warned.why, was_right)]
