"""Publishing: what people query changes all at once, only after every test has passed, or not at all."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

import psycopg2
from airflow.sdk import Asset, get_current_context, task
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from include import buffers
from include.dbt_project import release
from include.dbt_project.manifest import DataTest, Manifest, read
from include.results import store
from include.warehouse import connect

# Other DAGs can be scheduled on it: it changes when, and only when, tested data was published.
PUBLISHED = Asset(name="greenery_analytics", uri="greenery://warehouse/analytics")

LIVE, BUILT = "analytics", buffers.BUILT
# Below deadlock_timeout (1 s): a longer wait for several locks can end in a deadlock that kills a reader instead of us.
LOCK_MILLISECONDS = 800
ATTEMPTS = 30

log = logging.getLogger(__name__)


class NotPublishedError(RuntimeError):
    """Nothing was published and nothing has changed; the message says what stood in the way."""


@task(task_id="publish", outlets=[PUBLISHED])
def publish() -> None:
    """The task that decides the state of the run."""
    project = release.current()
    if project is None:
        raise NotPublishedError(
            "There is no release of the dbt project here, so nothing was built; nothing was published."
        )
    publish_run(get_current_context()["run_id"], read(project.manifest))


def publish_run(run_id: str, manifest: Manifest) -> None:
    """Put what this run built in place of what people query, if every error-severity test passed in this run.

    Raises NotPublishedError where a test failed or left no result, or readers held their locks for too long.
    """
    with connect("greenery publish") as connection:
        run = store.run(connection, run_id)
        built = store.models_built_since(connection, run_id, store.last_published_at(connection))
        missing = unproven(connection, run_id, manifest)
    if run and run.published_at and not built:
        log.info("This run was published at %s UTC; nothing was built since.", f"{run.published_at:%Y-%m-%d %H:%M}")
        return
    if stale := sorted(manifest.models - built):
        raise NotPublishedError(
            f"{len(stale)} of {len(manifest.models)} models were not built by this run since the last publish, so "
            f"publishing would mix days; nothing was published:\n{_lines(stale)}\n"
            "Clear the whole transform group, or trigger a new run."
        )
    if missing:
        raise NotPublishedError(
            f"{len(missing)} tests of severity error have no passing result in this run, so nothing was published:\n"
            f"{_lines(test.name for test in missing)}\n"
            "Clear the tasks that run them (their logs say what went wrong); publish follows."
        )
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with connect("greenery publish") as connection:
                _swap(connection, run_id)
            return
        except psycopg2.errors.QueryCanceled:
            log.info("Attempt %d: readers hold tables of %s; trying again in a second.", attempt, LIVE)
            time.sleep(1)
    raise NotPublishedError(
        f"Readers held tables of schema {LIVE} through {ATTEMPTS} attempts, so nothing was published. pg_stat_activity "
        "shows who; end long queries and idle transactions there, then clear publish."
    )


def unproven(connection: Connection, run_id: str, manifest: Manifest) -> list[DataTest]:
    """The error-severity tests of the manifest that lack a passing result in this run, by name.

    Task states don't say this: a test that no task runs fails no task.
    """
    passed = {
        result.unique_id for result in store.node_results(connection, run_id) if result.status in ("pass", "warn")
    }
    missing = [test for test in manifest.data_tests if test.severity == "error" and test.unique_id not in passed]
    return sorted(missing, key=lambda test: test.name)


def _lines(names: Iterable[str]) -> str:
    return "\n".join(f"  {name}" for name in names)


def _swap(connection: Connection, run_id: str) -> None:
    """Exchange the two schemas by name, in the transaction that also notes when, after locking what is live.

    Without the locks a query that joins two marts while names change can read one old and one new.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "select tablename from pg_tables where schemaname = %s order by tablename",
            (LIVE,),
        )
        live = [sql.Identifier(LIVE, name) for (name,) in cursor.fetchall()]
        cursor.execute("set local statement_timeout = %s", (LOCK_MILLISECONDS,))
        if live:
            cursor.execute(sql.SQL("lock table {} in access exclusive mode").format(sql.SQL(", ").join(live)))
        for before, after in ((LIVE, "analytics_former"), (BUILT, LIVE), ("analytics_former", BUILT)):
            cursor.execute(
                sql.SQL("alter schema {} rename to {}").format(sql.Identifier(before), sql.Identifier(after))
            )
        cursor.execute(
            "update ops.runs set published_at = clock_timestamp() where run_id = %s returning published_at", (run_id,)
        )
        (published_at,) = cursor.fetchone()
        buffers.published(cursor, LIVE)
        for schema, purpose in (
            (LIVE, f"published {published_at:%Y-%m-%d %H:%M} UTC by run {run_id}"),
            (BUILT, "Where dbt builds what the next publish puts into analytics."),
        ):
            cursor.execute(sql.SQL("comment on schema {} is {}").format(sql.Identifier(schema), sql.Literal(purpose)))
