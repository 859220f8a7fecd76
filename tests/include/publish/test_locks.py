"""Publish and rollback get through beside whoever reads, and nobody who reads dies of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event, Thread

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include import raw
from include.daily import buffers
from include.publish import locks
from include.publish.exchange import exchange, pause
from include.publish.gate import NotPublishedError
from include.raw import lease
from include.settings import Warehouse
from include.warehouse import roles
from tests.include.publish.test_exchange import build, do, publish
from tests.meanwhile import meanwhile
from tests.waiting import wait_for

pytestmark = pytest.mark.db

Open = Callable[[str], Connection]


@pytest.fixture(autouse=True)
def _try_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exchange tries again after a tenth of a second, and not after one."""
    monkeypatch.setattr("include.publish.exchange.pause", lambda _: 0.1)


@pytest.fixture
def people(db: Connection) -> Iterator[Connection]:
    """A warehouse in which marts `m` and `n` are published, and an analyst has views on them that publish may mend."""
    roles.ensure(db, login=True)
    do(db, "create role analyst login in role greenery_reader")
    do(db, "grant analyst to greenery_transformer")
    do(db, "create schema reporting authorization analyst")
    build(db, "run 1", "m", "n")
    publish(db, "run 1", "m", "n")
    for view in (
        "create view reporting.mine as select built_by from analytics.m",
        "create view reporting.wide as"
        " select mine.built_by, n.built_by as other from reporting.mine cross join analytics.n",
    ):
        do(db, f"set role analyst; {view}; reset role")
    yield db
    do(db, "drop owned by analyst cascade; drop role analyst")


@pytest.fixture
def open_as(warehouse: Warehouse) -> Iterator[Open]:
    """Opens connections of a role, which are closed in the end."""
    opened = []

    def open_as(role: str) -> Connection:
        opened.append(
            psycopg2.connect(
                host=warehouse.host,
                port=warehouse.port,
                dbname=warehouse.database,
                user=role,
                application_name="a dashboard",
            )
        )
        return opened[-1]

    yield open_as
    for connection in opened:
        connection.close()


@contextmanager
def reading(open_as: Open, *statements: str) -> Iterator[list]:
    """Sessions of an analyst that read again and again; yields what was wrong: errors, and rows of two publishes."""
    wrong: list = []

    def reads(connection: Connection, statement: str, over: Event) -> None:
        while not over.is_set():
            try:
                with connection, connection.cursor() as cursor:
                    cursor.execute(statement)
                    wrong.extend(row for row in cursor.fetchall() if len({*row} - {""}) > 1)
            except psycopg2.Error as error:
                wrong.append(error)
                return

    with meanwhile(*(partial(reads, open_as("analyst"), statement) for statement in statements)):
        yield wrong


def test_readers_of_peoples_views_neither_die_nor_keep_publish_out(people: Connection, open_as: Open) -> None:
    slow = "select built_by, pg_sleep(0.3)::text from analytics.m"
    views = ("select * from reporting.mine", "select * from reporting.wide", "select * from reporting.wide")
    with reading(open_as, slow, *views) as wrong:
        for number in range(2, 6):
            build(people, f"run {number}", "m", "n")
            publish(people, f"run {number}", "m", "n")
    assert wrong == []
    assert do(people, "select * from reporting.wide") == [("run 5", "run 5")]


def test_publish_waits_for_readers_however_short_an_administrator_lets_it_wait(
    people: Connection, open_as: Open
) -> None:
    do(people, f"alter role postgres in database {people.info.dbname} set lock_timeout = '20ms'")
    reader = open_as("analyst")
    do(reader, "begin; select * from analytics.m")
    build(people, "run 2", "m", "n")
    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(publish, people, "run 2", "m", "n")
        waiting = "select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        for _ in range(2):
            wait_for(lambda: do(people, waiting), "the publish waits", 20)
            wait_for(lambda: not do(people, waiting), "it tries again", 20)
        do(reader, "commit")
        publishing.result()
    assert do(people, "select built_by from analytics.m") == [("run 2",)]


@pytest.mark.parametrize("reads", ["view reporting.mine", "table analytics.m"])
def test_who_keeps_publish_out_is_named_with_what_they_hold(people: Connection, open_as: Open, reads: str) -> None:
    look_for_deadlocks_after(people, "300ms")
    build(people, "run 2", "m", "n")
    reader = open_as("analyst")
    with reader.cursor() as cursor:
        cursor.execute(f"select * from {reads.split()[1]}")
        with pytest.raises(NotPublishedError) as refused:
            exchange("run 2", buffers.current(people), attempts=2)
    said = str(refused.value)
    assert f"{reads} was held by analyst (a dashboard, pid {reader.info.backend_pid}, idle in transaction" in said
    assert f"since {time.gmtime().tm_year}-" in said
    assert "through 2 attempts" in said


def once_it_has_its_locks(monkeypatch: pytest.MonkeyPatch, begin: Callable[[], object]) -> None:
    """Somebody begins something when the next exchange has just locked what is live."""
    lock = locks.keep_out_readers

    def keep_out_readers(*arguments: object, **named: object) -> None:
        lock(*arguments, **named)
        monkeypatch.setattr(locks, "keep_out_readers", lock)
        begin()

    monkeypatch.setattr(locks, "keep_out_readers", keep_out_readers)


OF_A_SCHEMA = pytest.mark.parametrize(
    ("change", "what"),
    [
        ("grant usage on schema analytics to greenery_loader", "a row of pg_namespace"),
        ("comment on schema analytics is 'ours'", "schema analytics"),
    ],
    ids=["grant", "comment"],
)


@OF_A_SCHEMA
def test_who_leaves_a_change_of_the_schema_open_is_named(
    people: Connection, open_as: Open, monkeypatch: pytest.MonkeyPatch, change: str, what: str
) -> None:
    build(people, "run 2", "m", "n")
    administrator = open_as("postgres")
    once_it_has_its_locks(monkeypatch, lambda: do(administrator, change))
    for seen in (what, f"({what}|schema analytics)"):  # as it begins, and once it is there
        said = rf"{seen} was held by postgres \(a dashboard, pid {administrator.info.backend_pid}, idle in transaction"
        with pytest.raises(NotPublishedError, match=said):
            exchange("run 2", buffers.current(people), attempts=1)


@OF_A_SCHEMA
def test_what_somebody_changes_of_the_schema_while_publish_waits_for_it_ends_no_publish(
    people: Connection, open_as: Open, monkeypatch: pytest.MonkeyPatch, change: str, what: str
) -> None:
    build(people, "run 2", "m", "n")
    administrator = open_as("postgres")
    once_it_has_its_locks(monkeypatch, lambda: do(administrator, change))
    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(publish, people, "run 2", "m", "n")
        waiting = "select 1 from pg_locks where locktype in ('object', 'transactionid') and not granted"
        try:
            wait_for(lambda: do(people, waiting), "the publish waits", 20)
        finally:
            administrator.commit()
        publishing.result()
    assert do(people, "select built_by from analytics.m") == [("run 2",)]
    if "grant" in change:
        assert do(people, "select has_schema_privilege('greenery_loader', 'analytics', 'usage')") == [(True,)]


@pytest.mark.parametrize("schema", ["analytics", "analytics_next"])
def test_what_somebody_makes_in_a_schema_while_it_is_published_stays_there(
    people: Connection, open_as: Open, schema: str
) -> None:
    """In a transaction that is open meanwhile, as a file of statements and rows is loaded."""
    build(people, "run 2", "m", "n")
    somebody = open_as("postgres")
    do(somebody, f"create table {schema}.targets as select 1 as one")
    with pytest.raises(NotPublishedError) as refused:
        exchange("run 2", buffers.current(people), attempts=2)
    said = f"schema {schema} was held by postgres (a dashboard, pid {somebody.info.backend_pid}, idle in transaction"
    assert said in str(refused.value)
    somebody.commit()
    publish(people, "run 2", "m", "n")
    assert do(people, f"select one from {schema}.targets") == [(1,)]


def test_what_somebody_begins_to_make_during_the_exchange_stays_there(
    people: Connection, open_as: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(people, "run 2", "m", "n")
    somebody = open_as("postgres")
    once_it_has_its_locks(monkeypatch, lambda: do(somebody, "create table analytics.targets as select 1 as one"))

    def pause(_: int) -> float:
        somebody.commit()
        return 0

    monkeypatch.setattr("include.publish.exchange.pause", pause)
    publish(people, "run 2", "m", "n")
    somebody.commit()
    assert do(people, "select one from analytics.targets") == [(1,)]


def test_who_leaves_a_transaction_open_keeps_publish_out_for_as_long_as_idling_is_allowed(
    people: Connection, open_as: Open
) -> None:
    do(people, f"alter role analyst in database {people.info.dbname} set idle_in_transaction_session_timeout = '500ms'")
    look_for_deadlocks_after(people, "300ms")  # so that it comes after the first attempt
    build(people, "run 2", "m", "n")
    reader = open_as("analyst")
    do(reader, "select * from analytics.m")
    exchange("run 2", buffers.current(people))
    assert do(people, "select * from analytics.m") == [("run 2",)]
    with pytest.raises(psycopg2.OperationalError):
        do(reader, "select * from analytics.m")


def test_no_reader_dies_where_the_server_looks_for_deadlocks_sooner(people: Connection, open_as: Open) -> None:
    look_for_deadlocks_after(people, "300ms")
    build(people, "run 2", "m", "n")
    buffer, reader = buffers.current(people), open_as("analyst")
    publishing = Thread(target=exchange, args=("run 2", buffer))
    with reader, reader.cursor() as cursor:
        cursor.execute("select * from analytics.n")
        publishing.start()
        waits = "select 1 from pg_locks where not granted and relation = any('{analytics.m, analytics.n}'::regclass[])"
        wait_for(lambda: do(people, waits), "the publish waits")
        cursor.execute("select * from analytics.m")  # the exchange may have locked it, and waits for the other one
    publishing.join()
    assert do(people, "select * from analytics.m") == [("run 2",)]


@pytest.fixture
def slow_autovacuum(people: Connection) -> Connection:
    """An autovacuum is at work on `m`, and would be for hours."""
    do(people, "alter system set autovacuum_naptime = '1s'")
    do(people, "select pg_reload_conf()")
    do(people, "insert into analytics.m select 'run 1' from generate_series(1, 20000)")
    do(
        people,
        "alter table analytics.m set (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0,"
        " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)",
    )
    do(people, "delete from analytics.m where ctid > '(0, 1)'")
    vacuums = "select 1 from pg_stat_activity where query like 'autovacuum: VACUUM%analytics.m%'"
    wait_for(lambda: do(people, vacuums), "an autovacuum is at work")
    yield people
    do(people, "alter system reset autovacuum_naptime")
    do(people, "select pg_reload_conf()")


def test_autovacuum_gives_way(slow_autovacuum: Connection) -> None:
    build(slow_autovacuum, "run 2", "m", "n")
    exchange("run 2", buffers.current(slow_autovacuum), attempts=2)
    assert do(slow_autovacuum, "select * from analytics.m") == [("run 2",)]


def test_a_vacuum_that_does_not_give_way_is_named(people: Connection, open_as: Open) -> None:
    """Somebody's own, as an autovacuum against wraparound would be."""
    look_for_deadlocks_after(people, "300ms")
    do(people, "alter table analytics.m set (autovacuum_enabled = false)")
    do(people, "insert into analytics.m select 'run 1' from generate_series(1, 20000)")
    build(people, "run 2", "m", "n")
    vacuum = open_as("postgres")
    vacuum.autocommit = True
    do(vacuum, "set vacuum_cost_delay = 100; set vacuum_cost_limit = 1")

    def vacuums() -> None:
        with suppress(psycopg2.errors.QueryCanceled):
            do(vacuum, "vacuum (freeze) analytics.m")

    vacuuming = Thread(target=vacuums)
    vacuuming.start()
    is_at_work = "select 1 from pg_stat_activity where query = 'vacuum (freeze) analytics.m'"
    wait_for(lambda: do(people, is_at_work), "the vacuum is at work")
    try:
        with pytest.raises(NotPublishedError) as refused:
            exchange("run 2", buffers.current(people), attempts=1)
    finally:
        vacuum.cancel()
        vacuuming.join()
    assert f"table analytics.m was held by postgres (a dashboard, pid {vacuum.info.backend_pid}, active" in str(
        refused.value
    )


@pytest.mark.parametrize("publishes", [10, pytest.param(400, marks=pytest.mark.torture)])
def test_nobody_who_reads_or_loads_notices_that_it_is_published(
    people: Connection, open_as: Open, publishes: int
) -> None:
    with people.cursor() as cursor:
        raw.create(cursor)
    roles.ensure(people, login=True)
    for setting in ("autovacuum_naptime = '1s'", "autovacuum_vacuum_threshold = 0"):
        do(people, f"alter system set {setting}")
    do(people, "select pg_reload_conf()")
    stop, loader = Event(), open_as(roles.LOADER)

    def loads() -> int:
        number = 0
        while not stop.wait(0.05):
            number += 1
            with loader, loader.cursor() as cursor:
                lease.lock_raw(cursor)
                cursor.execute("insert into raw.promos values (%s, 1, 'active', clock_timestamp())", (f"p{number}",))
        return number

    statements = (
        "select m.built_by, n.built_by from analytics.m cross join analytics.n",
        "select m.built_by, wide.built_by, wide.other from reporting.wide cross join analytics.m",
        "select mine.built_by, m.built_by from analytics.m cross join reporting.mine",
        "select * from reporting.wide",
    )
    try:
        with ThreadPoolExecutor(1) as pool, reading(open_as, *statements) as wrong:
            loading = pool.submit(loads)
            try:
                for number in range(2, publishes + 2):
                    build(people, f"run {number}", "m", "n")
                    do(people, "update analytics.n set built_by = built_by")  # so that autovacuum has something to do
                    publish(people, f"run {number}", "m", "n")
            finally:
                stop.set()
    finally:
        for setting in ("autovacuum_naptime", "autovacuum_vacuum_threshold"):
            do(people, f"alter system reset {setting}")
        do(people, "select pg_reload_conf()")
    assert wrong == []
    assert loading.result() > 0
    assert do(people, "select * from reporting.wide") == [(f"run {publishes + 1}",) * 2]


def look_for_deadlocks_after(db: Connection, time: str) -> None:
    """From the next session on; how long an exchange waits for others goes by it."""
    do(db, f"alter database {db.info.dbname} set deadlock_timeout = '{time}'")


def test_a_publish_waits_between_its_attempts_and_not_after_the_last(
    people: Connection, open_as: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_for_deadlocks_after(people, "300ms")
    build(people, "run 2", "m", "n")
    do(open_as("analyst"), "select * from analytics.m")
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    with pytest.raises(NotPublishedError, match="through 3 attempts"):
        exchange("run 2", buffers.current(people), attempts=3)
    assert waited == [0.1, 0.1]


def test_who_reads_for_a_minute_is_waited_for_by_the_second() -> None:
    assert [pause(attempt) for attempt in (1, 30, 31, 89)] == [1, 1, 5, 5]
