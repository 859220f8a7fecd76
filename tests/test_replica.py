"""A streaming replica: what its readers see of a hundred publishes, what they wait for, and a failover to it.

A publish is one transaction, and its locks are replayed with it. What a replica can't promise is said in
docs/managed-postgres.md, each sentence with its test here.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Event

import psycopg2
import psycopg2.errorcodes
import pytest
from psycopg2.extensions import connection as Connection

from include.daily import buffers
from include.local import postgres
from include.local.postgres import LocalPostgres
from include.publish.exchange import exchange
from include.publish.gate import NotPublishedError
from include.publish.publish import publish_run
from include.raw import lease
from include.results import publications
from include.settings import Warehouse
from include.warehouse import is_gone, migrate
from tests import in_memory
from tests.conftest import FORGETFUL
from tests.faulty import end, half_way, opened
from tests.include.publish import test_publish as of_a_run
from tests.include.publish.test_exchange import build, do, publish
from tests.meanwhile import meanwhile
from tests.waiting import wait_for

pytestmark = [pytest.mark.db, pytest.mark.torture]

# What is committed is sent at once.
STREAMING = FORGETFUL | {"wal_level": "replica", "max_wal_senders": "4", "synchronous_commit": "on"}
NAME = "warehouse"


@dataclass
class Pair:
    """A primary and its replica, each with the warehouse."""

    primary: LocalPostgres
    replica: LocalPostgres

    def follow(self) -> None:
        """Wait until the replica has replayed what the primary has written."""
        with postgres.admin(self.primary) as cursor:
            cursor.execute("select pg_current_wal_flush_lsn()")
            [written] = cursor.fetchone()
        with postgres.admin(self.replica) as cursor:
            wait_for(lambda: ask(cursor, "select pg_last_wal_replay_lsn() >= %s", written), "the replica has all")

    def set(self, **settings: str) -> None:
        """Change settings of the replica while it runs."""
        with postgres.admin(self.replica) as cursor:
            for name, value in settings.items():
                cursor.execute(f"alter system set {name} = '{value}'")
            cursor.execute("select pg_reload_conf()")


def ask(cursor: psycopg2.extensions.cursor, statement: str, *parameters: object) -> object:
    cursor.execute(statement, parameters or None)
    return cursor.fetchone()[0]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two servers, the second of which follows the first, with run 1 published and run 2 built."""
    with (
        in_memory.folder("greenery-replica-") as home,
        pytest.MonkeyPatch.context() as environment,
        postgres.serving(home / "primary", STREAMING) as primary,
    ):
        postgres.ensure_database(primary, NAME)
        where = primary.database(NAME)
        for key, value in where.environment().items():
            environment.setenv(key, value)
        migrate.upgrade(where)
        with opened(where) as db:
            build(db, "run 1", "m", "n")
            publish(db, "run 1", "m", "n")
            build(db, "run 2", "m", "n")
        copy(primary, home / "replica")
        with postgres.serving(home / "replica", STREAMING) as replica:
            made = Pair(primary, replica)
            made.follow()
            yield made


def copy(primary: LocalPostgres, to: Path) -> None:
    """A copy of a server that will follow it. What lies on a disk of its own lies beside the copy."""
    rules = primary.data / "pg_hba.conf"
    asked = rules.read_text()
    with postgres.admin(primary) as cursor:
        if primary.passwords:
            rules.write_text(f"{asked}host replication all 127.0.0.1/32 scram-sha-256\n")
            cursor.execute("select pg_conf_load_time(), pg_reload_conf()")
            [loaded, _] = cursor.fetchone()
            wait_for(lambda: _loaded(primary) > loaded, "a new connection has the new rules")
        cursor.execute("select pg_tablespace_location(oid) from pg_tablespace where pg_tablespace_location(oid) <> ''")
        disks = {place: to.with_name(f"{to.name}-disk-{n}") for n, (place,) in enumerate(cursor.fetchall())}
    if Path("/proc/self").stat().st_uid == 0:
        for folder in (to, *disks.values()):
            folder.mkdir()
            postgres._hand_to_system_user(folder)
    # Not `--checkpoint=spread`, which takes minutes.
    where = ("--host", primary.host, "--port", str(primary.port), "--username", postgres.SUPERUSER)
    moved = [f"--tablespace-mapping={place}={beside}" for place, beside in disks.items()]
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGPASSWORD", primary.passwords.get(postgres.SUPERUSER, ""))
        postgres._run(
            *("pg_basebackup", *where, *moved, "--pgdata", str(to), "--write-recovery-conf", "--checkpoint=fast")
        )
    to.chmod(0o700)
    (to / "pg_hba.conf").write_text(asked)
    (to / "server.log").unlink(missing_ok=True)


def _loaded(server: LocalPostgres) -> datetime:
    """When the server last read its settings and rules, as a connection of now has them."""
    with postgres.admin(server) as cursor:
        cursor.execute("select pg_conf_load_time()")
        [at] = cursor.fetchone()
    return at


# --- readers ---------------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What readers of a kind saw: how often they read, mixes, errors by their codes, the longest wait in seconds."""

    read: int = 0
    mixed: list[tuple] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0


ONE_STATEMENT = ("select m.built_by, n.built_by from analytics.m cross join analytics.n",)
OTHER_ORDER = ("select n.built_by, m.built_by from analytics.n cross join analytics.m",)
IN_TURN = ("select built_by from analytics.m", "select built_by from analytics.n")
Read = Callable[[Connection], list[tuple]]


def at_once(*statements: str) -> Read:
    """Statements, each a transaction."""
    return lambda connection: [row for statement in statements for row in do(connection, statement)]


def in_a_transaction(isolation: str, *statements: str, pause: float = 0.0) -> Read:
    """Statements in one transaction, as one row; a pause between them."""

    def read(connection: Connection) -> list[tuple]:
        with connection.cursor() as cursor:
            cursor.execute(f"begin isolation level {isolation}")
            try:
                found: list[object] = []
                for statement in statements:
                    cursor.execute(statement)
                    found += [value for row in cursor.fetchall() for value in row]
                    time.sleep(pause)
            finally:
                with suppress(psycopg2.Error):
                    cursor.execute("rollback")
            return [tuple(found)]

    return read


KINDS: dict[str, Read] = {
    "one statement": at_once(*ONE_STATEMENT),
    "one statement, the other way round": at_once(*OTHER_ORDER),
    "one transaction, read committed": in_a_transaction("read committed", *IN_TURN, pause=0.02),
    "one transaction, repeatable read": in_a_transaction("repeatable read", *IN_TURN, pause=0.02),
    "the other way round, repeatable read": in_a_transaction("repeatable read", *IN_TURN[::-1], pause=0.02),
    "a dashboard's queries": lambda connection: [
        tuple(value for row in at_once(*IN_TURN, *IN_TURN, IN_TURN[0])(connection) for value in row)
    ],
}


@contextmanager
def reading(where: Warehouse, kinds: dict[str, Read]) -> Iterator[dict[str, Seen]]:
    """A session of each kind reads again and again."""
    seen = {name: Seen() for name in kinds}

    def reads(name: str, over: Event) -> None:
        while not over.is_set():
            with suppress(psycopg2.OperationalError), opened(where) as connection:
                while not over.is_set() and not connection.closed:
                    began = time.monotonic()
                    try:
                        found = kinds[name](connection)
                        seen[name].read += 1
                        seen[name].mixed += [row for row in found if len({*row}) != 1]
                    except psycopg2.Error as error:
                        seen[name].errors[error.pgcode or ("gone" if is_gone(error) else str(error))] += 1
                    seen[name].longest = max(seen[name].longest, time.monotonic() - began)

    with meanwhile(*(partial(reads, name) for name in kinds)):
        yield seen


# --- what they may see -----------------------------------------------------------------------------------------------

PUBLISHES = 100
# What a reader is told whom the replay of a publish has ended; who may ask again at once.
AGAIN = {psycopg2.errorcodes.SERIALIZATION_FAILURE, psycopg2.errorcodes.DEADLOCK_DETECTED, "gone"}


def test_readers_of_a_replica_see_one_publish_at_a_time_over_a_hundred(pair: Pair) -> None:
    with opened(pair.primary.database(NAME)) as db, reading(pair.replica.database(NAME), KINDS) as seen:
        for number in range(2, PUBLISHES + 2):
            build(db, f"run {number}", "m", "n")
            publish(db, f"run {number}", "m", "n")
        pair.follow()
    for name, one in seen.items():
        print(f"{name}: read {one.read}, mixed {len(one.mixed)}, {dict(one.errors)}, longest {one.longest:.2f} s")
    dashboard = seen.pop("a dashboard's queries")
    assert {name: one.mixed for name, one in seen.items()} == {name: [] for name in seen}
    assert {code for one in (*seen.values(), dashboard) for code in one.errors} <= AGAIN
    assert min(one.read for one in seen.values()) > 0
    with opened(pair.replica.database(NAME)) as replica:
        assert do(replica, ONE_STATEMENT[0]) == [(f"run {PUBLISHES + 1}",) * 2]


@pytest.mark.parametrize("feedback", ["off", "on"])
def test_who_keeps_a_transaction_open_on_a_replica_is_ended_and_until_then_the_others_wait(
    pair: Pair, feedback: str
) -> None:
    """For `max_standby_streaming_delay`, and whatever `hot_standby_feedback` is. The publish waits for nobody there."""
    pair.set(max_standby_streaming_delay="3s", hot_standby_feedback=feedback)
    where = pair.replica.database(NAME)
    with opened(where) as stays, opened(where) as other, opened(pair.primary.database(NAME)) as db:
        do(stays, "begin isolation level repeatable read")
        assert do(stays, "select built_by from analytics.m") == [("run 1",)]
        publish(db, "run 2", "m", "n")
        do(db, "select pg_switch_wal()")
        with postgres.admin(pair.replica) as cursor:
            wait_for(lambda: ask(cursor, "select exists (select from pg_locks where not granted)"), "the replay waits")
        assert do(stays, "select built_by from analytics.m") == [("run 1",)], "reads on meanwhile"
        assert do(other, ONE_STATEMENT[0]) == [("run 2", "run 2")], "after a wait"
        with pytest.raises(psycopg2.Error) as ended:
            do(stays, "select built_by from analytics.m")
        assert is_gone(ended.value)


@pytest.mark.parametrize("of", ["primary", "replica"])
def test_a_snapshot_from_before_a_mart_was_built_sees_it_empty_and_no_error(pair: Pair, of: str) -> None:
    """On a replica as on the primary, where `hot_standby_feedback` is on; else the reader may be ended."""
    pair.set(hot_standby_feedback="on", wal_receiver_status_interval="1s")
    with opened(getattr(pair, of).database(NAME)) as reader, opened(pair.primary.database(NAME)) as db:
        do(reader, "begin isolation level repeatable read")
        do(reader, "select 1")
        is_told = "select 1 from pg_stat_replication where backend_xmin is not null"
        wait_for(lambda: of == "primary" or do(db, is_told), "the primary knows of the reader")
        build(db, "run 2", "m", "n")
        publish(db, "run 2", "m", "n")
        pair.follow()
        assert do(reader, "select built_by from analytics.m") == []


def test_a_replica_that_is_waited_for_and_is_gone_keeps_no_reader_waiting(pair: Pair) -> None:
    """With `synchronous_standby_names` every other commit does."""
    where = pair.primary.database(NAME)
    with half_way("run 2") as publish, postgres.admin(pair.primary) as cursor:
        end(pair.replica, signal.SIGINT)
        cursor.execute("alter system set synchronous_standby_names = '*'")
        cursor.execute("select pg_reload_conf()")
        is_set = "select setting = '*' from pg_settings where name = 'synchronous_standby_names'"
        wait_for(lambda: ask(cursor, is_set), "commits wait for the replica")
        publish.goes_on.set()
        try:
            with opened(where) as db:
                do(db, "set statement_timeout = '1min'")
                wait_for(lambda: do(db, ONE_STATEMENT[0]) == [("run 2", "run 2")], "readers see the publish")
        finally:
            cursor.execute("alter system reset synchronous_standby_names")
            cursor.execute("select pg_reload_conf()")
    assert publish.ended_with is None


# --- failover --------------------------------------------------------------------------------------------------------


def promote(pair: Pair) -> None:
    """The primary dies at once, and the replica takes its place."""
    end(pair.primary, signal.SIGQUIT)
    with postgres.admin(pair.replica) as cursor:
        assert ask(cursor, "select pg_promote(wait_seconds => 60)")


def fail_over(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """The same of the warehouse, whose new address the environment names."""
    promote(pair)
    where = pair.replica.database(NAME)
    for key, value in where.environment().items():
        monkeypatch.setenv(key, value)
    return where


def test_a_failover_in_the_middle_of_a_publish_leaves_the_former_marts_and_the_next_try_publishes(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    with half_way("run 2"):
        with opened(pair.primary.database(NAME)) as db:
            do(db, "create table ops.flushes_what_was_written ()")
        pair.follow()
        with opened(pair.replica.database(NAME)) as reader:
            do(reader, "set statement_timeout = '500ms'")
            with pytest.raises(psycopg2.errors.QueryCanceled):  # its locks are there
                do(reader, ONE_STATEMENT[0])
        where = fail_over(pair, monkeypatch)
        with opened(where) as db:
            assert do(db, ONE_STATEMENT[0]) == [("run 1", "run 1")]
    with opened(where) as db:
        exchange("run 2", buffers.current(db))
        assert do(db, ONE_STATEMENT[0]) == [("run 2", "run 2")]
        build(db, "run 3", "m", "n")
        publish(db, "run 3", "m", "n")
        assert do(db, ONE_STATEMENT[0]) == [("run 3", "run 3")]


@contextmanager
def cut_off(pair: Pair) -> Iterator[None]:
    """From here on the primary commits what the replica does not get."""
    pair.follow()
    pair.set(primary_conninfo="")
    with postgres.admin(pair.replica) as cursor:
        wait_for(lambda: not ask(cursor, "select exists (select from pg_stat_wal_receiver)"), "it is cut off")
    yield


def test_a_publish_that_the_replica_had_not_got_is_taken_back_and_the_next_try_publishes(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(pair.primary.database(NAME)) as db:
        lease.take(db, "run run 2")
        with cut_off(pair):
            publish(db, "run 2", "m", "n")
    with opened(fail_over(pair, monkeypatch)) as db:
        assert do(db, ONE_STATEMENT[0]) == [("run 1", "run 1")]
        assert publications.live(db).run_id == "run 1"
        with pytest.raises(lease.LeaseHeldError, match="run run 2 reads the raw tables"):
            lease.take(db, "run run 3")
        lease.take(db, "run run 2")
        exchange("run 2", buffers.current(db))
        assert do(db, ONE_STATEMENT[0]) == [("run 2", "run 2")]


def test_a_run_of_which_the_replica_had_not_got_all_is_not_published(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(pair.primary.database(NAME)) as db:
        publish(db, "run 2", "m", "n")
        with cut_off(pair):
            of_a_run.build(db, "run 3", "day 3")
    with opened(fail_over(pair, monkeypatch)) as db:
        with pytest.raises(NotPublishedError, match="no longer this run's"):
            publish_run("run 3", of_a_run.MANIFEST)
        assert do(db, ONE_STATEMENT[0]) == [("run 2", "run 2")]
        of_a_run.build(db, "run 4", "day 4")
        publish_run("run 4", of_a_run.MANIFEST)
        assert of_a_run.published(db) == ["day 4"]
