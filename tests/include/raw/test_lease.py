"""One reader of raw at a time, and no load meanwhile: what a run publishes is one moment."""

from __future__ import annotations

import threading
from datetime import timedelta

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include import settings
from include.demo_shop import demo
from include.raw import lease
from include.raw.lease import LeaseHeldError
from include.raw.load import LoadError
from include.warehouse import connect
from tests.conftest import warehouse  # noqa: F401 - a migrated one, which that of this folder is not
from tests.waiting import wait_for

pytestmark = pytest.mark.db


@pytest.fixture
def ops(db: Connection) -> Connection:
    """A warehouse with `ops`."""
    return db


def loaded(db: Connection) -> int:
    with db.cursor() as cursor:
        cursor.execute("select to_regclass('raw.loads') is not null")
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute("select count(*) from raw.loads")
        return cursor.fetchone()[0]


def test_a_second_run_is_refused_and_told_whose_turn_it_is(ops: Connection) -> None:
    lease.take(ops, "run 1")
    with pytest.raises(LeaseHeldError, match=r"run 1 reads the raw tables since \d\d \w{3} \d\d:\d\d UTC"):
        lease.take(ops, "run 2")


def test_a_run_renews_its_own_and_gives_it_back_once(ops: Connection) -> None:
    for _ in range(3):
        lease.take(ops, "run 1")
    lease.release(ops, "run 1")
    lease.release(ops, "run 1")
    lease.take(ops, "run 2")


def test_a_lease_tells_when_it_was_taken_however_often_it_is_renewed(ops: Connection) -> None:
    def leases() -> list[tuple]:
        with ops.cursor() as cursor:
            cursor.execute("select holder, taken_at, released_at from ops.leases order by taken_at")
            return cursor.fetchall()

    lease.take(ops, "run 1")
    lease.release(ops, "run 1")
    lease.take(ops, "run 2")
    before = leases()
    lease.take(ops, "run 2")
    assert leases() == before
    assert [(holder, released is None) for holder, _, released in before] == [("run 1", False), ("run 2", True)]


def test_another_ones_is_not_given_back(ops: Connection) -> None:
    lease.take(ops, "run 1")
    lease.release(ops, "run 2")
    with pytest.raises(LeaseHeldError):
        lease.take(ops, "run 3")


def test_of_a_run_that_ended_without_a_word_it_is_taken_over(ops: Connection) -> None:
    lease.take(ops, "run 1")
    lease.take(ops, "run 2", ended=lambda holder: holder == "run 1")
    with pytest.raises(LeaseHeldError, match="run 2"):
        lease.take(ops, "run 1")


def test_only_of_one_who_has_ended_it_is_given_back_by_somebody_else(ops: Connection) -> None:
    lease.take(ops, "run 1")
    lease.release_ended(ops, lambda holder: holder == "run 2")
    with pytest.raises(LoadError, match="run 1 reads the raw tables"):
        demo.play_day(ops, 1, orders_per_day=3)
    lease.release_ended(ops, lambda holder: holder == "run 1")
    demo.play_day(ops, 1, orders_per_day=3)


def test_who_would_renew_it_meanwhile_is_waited_for(ops: Connection) -> None:
    """Else it would be given back under one who has just begun again."""
    lease.take(ops, "run 1")
    with ops.cursor() as cursor, connect() as other:
        lease.lock_raw(other.cursor())  # as who renews it does first
        cursor.execute("set lock_timeout = '50ms'")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            lease.release_ended(ops, lambda _: True)
        other.commit()
        lease.release_ended(ops, lambda _: True)
        assert lease.held(cursor) is None


def test_where_nobody_has_it_no_load_is_waited_for(ops: Connection) -> None:
    """A load may take longer than the watchdog, which asks, may run."""
    with ops.cursor() as cursor, connect() as loader:
        lease.lock_raw(loader.cursor())
        cursor.execute("set lock_timeout = '50ms'")
        lease.release_ended(ops, lambda _: True)
        assert lease.held(cursor) is None


def test_a_run_that_is_silent_for_too_long_holds_nobody_up(ops: Connection) -> None:
    lease.take(ops, "run 1")
    with ops.cursor() as cursor:
        cursor.execute("update ops.leases set renewed_at = renewed_at - %s", (lease.EXPIRES_AFTER,))
    demo.play_day(ops, 1, orders_per_day=3)
    lease.take(ops, "run 2")


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWED_EVERY", timedelta(milliseconds=20))


def silent(db: Connection) -> None:
    """Nothing was heard of the holder for almost as long as a lease lasts."""
    with db.cursor() as cursor:
        cursor.execute("update ops.leases set renewed_at = clock_timestamp() - %s", (lease.EXPIRES_AFTER * 0.99,))


def is_fresh(db: Connection) -> bool:
    with db.cursor() as cursor:
        held = lease.held(cursor)
        cursor.execute("select clock_timestamp() at time zone 'UTC'")
        return held is not None and held.until > cursor.fetchone()[0] + lease.EXPIRES_AFTER * 0.9


@pytest.mark.usefixtures("_often")
def test_while_a_task_works_its_run_keeps_the_lease(ops: Connection) -> None:
    lease.take(ops, "run 1")
    with lease.kept("run 1"):
        for _ in range(2):
            silent(ops)
            wait_for(lambda: is_fresh(ops), "the lease is renewed", 30)
    silent(ops)
    assert not is_fresh(ops)


@pytest.mark.usefixtures("_often")
def test_a_lease_that_was_taken_over_is_not_renewed(ops: Connection) -> None:
    lease.take(ops, "run 1")
    lease.take(ops, "run 2", ended=lambda _: True)
    silent(ops)
    with lease.kept("run 1"), lease.kept("run 2"):
        wait_for(lambda: is_fresh(ops), "the other's lease is renewed", 30)
    with ops.cursor() as cursor:
        assert lease.held(cursor).holder == "run 2"
        cursor.execute(
            "select renewed_at < clock_timestamp() - %s from ops.leases where holder = 'run 1'",
            (lease.EXPIRES_AFTER / 2,),
        )
        assert cursor.fetchall() == [(True,)]


@pytest.mark.usefixtures("_often")
def test_what_once_can_not_be_renewed_is_renewed_later(
    ops: Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lease.take(ops, "run 1")
    there = settings.warehouse()
    monkeypatch.setenv("WAREHOUSE_PORT", "1")
    with lease.kept("run 1"):
        wait_for(lambda: "was not renewed" in caplog.text, "the server can't be reached", 30)
        silent(ops)
        monkeypatch.setenv("WAREHOUSE_PORT", str(there.port))
        wait_for(lambda: is_fresh(ops), "the lease is renewed", 30)


def test_a_run_that_was_heard_of_in_the_future_holds_nobody_up_until_then(ops: Connection) -> None:
    lease.take(ops, "run 1")
    with ops.cursor() as cursor:
        cursor.execute("update ops.leases set renewed_at = renewed_at + interval '1 day'")
    demo.play_day(ops, 1, orders_per_day=3)
    lease.take(ops, "run 2")


def test_a_load_while_a_run_reads_is_refused_and_leaves_nothing(ops: Connection) -> None:
    lease.take(ops, "run 1")
    with pytest.raises(LoadError, match=r"run 1 reads the raw tables since .* Load again once it has ended"):
        demo.play_day(ops, 1, orders_per_day=3)
    assert loaded(ops) == 0
    lease.release(ops, "run 1")
    demo.play_day(ops, 1, orders_per_day=3)
    assert loaded(ops) > 0


def test_a_run_waits_for_a_load_that_is_under_way(ops: Connection) -> None:
    loader = psycopg2.connect(ops.dsn)
    demo.play_day(loader, 1, orders_per_day=3)  # and does not commit yet
    seen = []

    def run() -> None:
        with connect() as connection:
            lease.take(connection, "run 1")
            seen.append(loaded(connection))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=0.5)
    assert thread.is_alive()
    loader.commit()
    thread.join(timeout=30)
    loader.close()
    assert seen[0] > 0


def test_a_run_that_waits_too_long_for_a_load_says_who_keeps_it_waiting(ops: Connection) -> None:
    with connect("nightly load") as loader, loader.cursor() as loading, ops.cursor() as cursor:
        lease.lock_raw(loading)
        cursor.execute("select pg_advisory_lock(7); set lock_timeout = '50ms'")  # another lock is nobody's load
        with pytest.raises(
            LeaseHeldError,
            match=r"^postgres \(nightly load, pid \d+, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\) keeps the raw tables",
        ):
            lease.take(ops, "run 1")
        assert lease.held(cursor) is None


def test_a_decision_reads_raw_for_as_long_as_its_session(ops: Connection) -> None:
    with ops.cursor() as cursor:
        with connect() as deciding:
            lease.take(deciding, lease.of_decision(3, "ada"))
            deciding.commit()
            assert lease.held(cursor).holder == "decision 3 of ada"
            with pytest.raises(LeaseHeldError, match="decision 3 of ada"):
                lease.take(ops, "run 1")
        wait_for(lambda: lease.held(cursor) is None, "the session has ended", 30)
        lease.take(ops, "run 1")
        assert lease.held(cursor).holder == "run 1"


def test_of_many_that_ask_at_once_one_gets_it(ops: Connection) -> None:
    got, refused = [], []

    def ask(name: str) -> None:
        try:
            with connect() as connection:
                lease.take(connection, name)
            got.append(name)
        except LeaseHeldError:
            refused.append(name)

    threads = [threading.Thread(target=ask, args=(f"run {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)
