"""What one dbt builds of a run ahead of the tasks that build it (`operators.BuildAhead`), and how a task hears of it.

`ops.runs.built_ahead` says who builds a run's models: true where one dbt does so or did, false where the tasks do, null
where nobody has begun. While it works it holds a lock, which goes with it however it ends. A task waits until its own
node and tests are well done. It builds for itself only when that dbt is over, so that no two build one table.
"""

from __future__ import annotations

import logging
import math
import os
import select
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Event, Lock, Thread
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import NamedTupleCursor

from include import settings
from include.daily import DAG_ID, buffers
from include.dbt_project import manifest, release
from include.dbt_project.manifest import Manifest
from include.fast_cosmos.ahead import Done
from include.results import hooks
from include.results.nodes import NodeResult, of_node
from include.results.record import record
from include.settings import BUILT
from include.warehouse import connect, open_connection

TASK, GROUP = "build_ahead", "transform"
# A node that is as it should be, as dbt says it; a warning holds nothing up.
WELL = ("success", "pass", "warn")
# How long a task waits for a dbt that has not begun, and how often it looks whether one that has is still there.
BEGIN_SECONDS = 60
LOOK_SECONDS = 5
# How long it waits in the queue, and in a process of its own after that: what a worker took and did not begin, Celery
# gives to another after 60 seconds, and the scheduler gives up after `task_queued_timeout`.
QUEUED_SECONDS = 45
# How often the watch of the lock looks whether the building is over.
WATCH_SECONDS = 0.2
_CHANNEL = "greenery_built_ahead"
_KEY = "hashtextextended('greenery built ahead ' || %s, 0)"

log = logging.getLogger(__name__)


@contextmanager
def building(run_id: str, schemas: Collection[str] = (BUILT,)) -> Iterator[Connection | None]:
    """For the time of the block this process builds the run's models, into `schemas`; None where that was tried before.

    The process ends where the lock is lost: the tasks build for themselves then, and dbt can't be told to stop.
    """
    with connect("greenery ahead") as connection, _holding(run_id, schemas):
        connection.autocommit = True
        with connection.cursor() as cursor:
            _let_it_be_idle(cursor)
            yield connection if _claim(cursor, run_id, by_one=True) else None


@contextmanager
def _holding(run_id: str, schemas: Collection[str]) -> Iterator[None]:
    """Hold the lock, over a connection that nobody else uses; who sees the claim finds it held.

    It is given back only where the block ends well: nobody is at work then.
    """
    held = open_connection("greenery ahead: lock", settings.warehouse())
    held.autocommit = True
    with held.cursor() as cursor:
        _let_it_be_idle(cursor)
        _end_former_try(cursor, run_id, schemas)
        cursor.execute(f"select pg_advisory_lock({_KEY})", (run_id,))
        over = Event()
        watch = Thread(target=_end_without, args=(held, over), daemon=True)
        watch.start()
        # Where the block raises, dbt's threads may still build: the lock goes with this process then, as the
        # connection does, which the watch has.
        yield
        over.set()
        watch.join()
        cursor.execute(f"select pg_advisory_unlock({_KEY})", (run_id,))
        cursor.execute(f"notify {_CHANNEL}")
    held.close()


def _end_former_try(cursor: Cursor, run_id: str, schemas: Collection[str]) -> None:
    """End what is left of a try that Airflow gave up: one that is frozen would hold the lock, and tables, for ever.

    No task of the run builds while that lock is held, so a dbt that is writing to its schemas is that try's. Its
    process ends as soon as it wakes.
    """
    cursor.execute(
        f"""
        with former as (
            select pid
            from pg_locks
            where locktype = 'advisory' and mode = 'ExclusiveLock' and granted and objsubid = 1
                and database = (select oid from pg_database where datname = current_database())
                and (classid::bigint << 32) + objid::bigint = {_KEY}
        ),

        -- Who makes a table locks its schema, and who changes one the table.
        writing as (
            select pid
            from pg_locks
            left join pg_class on pg_class.oid = relation and mode <> 'AccessShareLock'
            join pg_namespace as spaces
                on spaces.oid = relnamespace or classid = 'pg_namespace'::regclass and objid = spaces.oid
            where database = (select oid from pg_database where datname = current_database())
                and nspname = any(%s)
        )

        select pg_terminate_backend(pid)
        from pg_stat_activity
        where exists (select from former) and datname = current_database() and usename = current_user
            and (pid in (select pid from former) or application_name = 'dbt' and pid in (select pid from writing))
        """,  # noqa: S608 - a constant
        (run_id, list(schemas)),
    )
    if cursor.rowcount:
        log.warning("A former try of this task still had %d sessions; they are ended.", cursor.rowcount)


def _let_it_be_idle(cursor: Cursor) -> None:
    """A model takes as long as it takes; Postgres 13 ends no session for that."""
    cursor.execute("select set_config(name, '0', false) from pg_settings where name = 'idle_session_timeout'")


def _end_without(held: Connection, over: Event) -> None:
    """End this process, with dbt's threads and connections, as soon as a connection is lost that is used by nobody."""
    while not over.is_set():
        try:
            if select.select([held], [], [], WATCH_SECONDS)[0]:
                held.poll()
        except psycopg2.Error:
            log.exception("The lock on building ahead is lost: this process ends, and the tasks build for themselves.")
            os._exit(1)


class Keeper:
    """Hears of each node from dbt's threads, and keeps in `ops` what a task builds as soon as all of that is well.

    Nothing is kept of a task of which something failed or was skipped: it runs for itself.
    """

    def __init__(self, connection: Connection, run_id: str, facts: Manifest, nodes: dict[str, Any]) -> None:
        self._connection, self._run_id, self._facts, self._nodes = connection, run_id, facts, nodes
        self._lock, self._marked = Lock(), False
        self._at_end = hooks.not_ended(nodes.values())
        self._left = {one: self._of(one) for one in ours(facts)}
        self._homes = {node: home for home, of in self._left.items() for node in of}
        self._results: dict[str, list[NodeResult]] = {home: [] for home in self._left}
        self._to_end = set(self._homes)

    def began(self, unique_id: str) -> None:
        """Mark the buffer before the first model is built into it, as each task does."""
        if unique_id not in self._facts.models or self._facts.nodes[unique_id].get("schema") != BUILT:
            return
        with self._lock:
            if not self._marked:
                buffers.mark(self._connection)
                self._marked = True

    def ended(self, unique_id: str, told: Any) -> None:
        """Keep how it ended, with what else its task builds."""
        if unique_id not in self._homes:
            return
        home, node, done = self._homes[unique_id], self._nodes[unique_id], []
        with self._lock:
            self._to_end.discard(unique_id)
            if str(told.status) in WELL:
                failures = told.num_failures if node.resource_type == "test" else None
                self._results[home].append(of_node(node, told, failures))
                self._left[home].discard(unique_id)
                if not self._left[home]:
                    done = self._results.pop(home)
            hooks_are_next = bool(self._at_end) and not self._to_end and len(self._results) < len(self._left)
        # Each thread for itself: to look for the rows that a test found may take seconds.
        if hooks_are_next:  # no task runs them again
            record(self._run_id, TASK, 1, self._at_end, self._facts)
        if done:
            record(self._run_id, f"{GROUP}.{self._facts.task_of(home)}", 1, done, self._facts)
            with self._connection.cursor() as cursor:
                cursor.execute(f"notify {_CHANNEL}")

    def _of(self, home: str) -> set[str]:
        return {*self._facts.tests_of(home), *([home] if home in self._facts.models else ())}


def leave(run_id: str) -> None:
    """Let the tasks build for themselves, unless one dbt has begun to."""
    with connect("greenery ahead") as connection, connection.cursor() as cursor:
        _claim(cursor, run_id, by_one=False)


def ours(facts: Manifest) -> list[str]:
    """Unique ids of the nodes whose tasks are those of the group, which has no others."""
    return [one for one in facts.drawn if one not in facts.history]


def done(task: Any, *, within: float = math.inf) -> Done | None:
    """What became of a task's work, after waiting for it, or for so many seconds; None where the task has to run."""
    if task.dag_id != DAG_ID or not task.task_id.startswith(f"{GROUP}.") or task.try_number > 1:
        return None
    return _wait(task.run_id, lambda connection: _done(connection, task), within)


def wait_until_over(run_id: str) -> None:
    """Call before a task builds for itself: nobody else does so afterwards."""
    _wait(run_id, lambda _: None)


def _wait(run_id: str, find: Callable[[Connection], Done | None], within: float = math.inf) -> Done | None:
    """Look for what was done whenever something was, until nobody builds ahead any more."""
    with connect("greenery ahead") as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"listen {_CHANNEL}")
            since = time.monotonic()
            while True:
                # Before the look at results: what was kept last is seen then.
                over = _is_over(cursor, run_id, give_up=time.monotonic() > since + BEGIN_SECONDS)
                found = find(connection)
                if found or over or time.monotonic() > since + within:
                    return found
                # What was said during the look has come with its answers.
                if not connection.notifies and select.select([connection], [], [], LOOK_SECONDS)[0]:
                    connection.poll()
                connection.notifies.clear()


def _claim(cursor: Cursor, run_id: str, *, by_one: bool) -> bool:
    cursor.execute("update ops.runs set built_ahead = %s where run_id = %s and built_ahead is null", (by_one, run_id))
    return cursor.rowcount == 1


def _is_over(cursor: Cursor, run_id: str, *, give_up: bool) -> bool:
    """Whether nobody builds ahead, now or later; `give_up` sees to that where nobody has begun."""
    if give_up:
        _claim(cursor, run_id, by_one=False)
    cursor.execute("select built_ahead from ops.runs where run_id = %s", (run_id,))
    (built_ahead,) = cursor.fetchone() or (False,)
    if not built_ahead:
        return built_ahead is False
    cursor.execute(f"select pg_try_advisory_xact_lock_shared({_KEY})", (run_id,))
    return cursor.fetchone()[0]


def _done(connection: Connection, task: Any) -> Done | None:
    """What is kept of a task's work, unless the run began anew since, or built again what that work was built from."""
    with connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
        cursor.execute(
            """
            select unique_id, name, status, message, seconds, results.recorded_at, sql, release
            from ops.node_results as results
            join ops.runs using (run_id)
            left join ops.compiled_sql using (unique_id)
            where results.run_id = %(run)s and task_id = %(task)s and attempt = 1
                and results.recorded_at > (
                    select since from ops.buffers
                    where schema_oid = to_regnamespace(%(built)s)::oid and run_id = %(run)s
                )
            order by resource_type, name
            """,
            {"run": task.run_id, "task": task.task_id, "built": BUILT},
        )
        rows = cursor.fetchall()
    if not rows or any(row.status not in WELL for row in rows) or buffers.loaded_since_begin(connection):
        return None
    facts = _facts(connection, rows[0].release)
    if _is_older_than_what_it_reads(connection, task, facts, min(row.recorded_at for row in rows)):
        return None
    ended_at = max(row.recorded_at for row in rows)
    return Done(
        began_at=ended_at - timedelta(seconds=max(row.seconds for row in rows)),
        ended_at=ended_at,
        log=[
            "Built by the task build_ahead, whose log has dbt's own lines:",
            *(
                f"{row.unique_id}: {row.status}{f', {row.message}' if row.message else ''}, {row.seconds:.2f} s"
                for row in rows
            ),
        ],
        rendered={"compiled_sql": "\n\n".join(f"-- {row.name}\n{row.sql}" for row in rows if row.sql)},
    )


def _is_older_than_what_it_reads(connection: Connection, task: Any, facts: Manifest, recorded_at: datetime) -> bool:
    """Whether a task has built since then what a node descends from: it failed ahead, or was retried or cleared."""
    node = facts.node_of(task.task_id)
    if node is None:
        return True
    with connection.cursor() as cursor:
        cursor.execute(
            "select from ops.node_results where run_id = %s and unique_id = any(%s) and recorded_at > %s limit 1",
            (task.run_id, sorted(facts.upstream(node)), recorded_at),
        )
        return cursor.rowcount > 0


def _facts(connection: Connection, stamp: str) -> Manifest:
    return manifest.read(release.of_run(connection, stamp).manifest)
