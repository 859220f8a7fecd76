"""Publishing: what people query changes all at once, only after every test has passed, or not at all."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import datetime

import psycopg2
from airflow.sdk import Asset, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from include import buffers
from include.dbt_project.cosmos import release_of
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


class NotPublishedError(AirflowFailException):
    """Nothing was published and nothing has changed; the message says what stood in the way. A retry would not help."""


@task(task_id="publish", outlets=[PUBLISHED])
def publish() -> None:
    """The task that decides the state of the run."""
    run_id = get_current_context()["run_id"]
    publish_run(run_id, read(release_of(run_id).manifest))


def publish_run(run_id: str, manifest: Manifest) -> None:
    """Put what this run built in place of what people query, if every error-severity test passed on it.

    Raises NotPublishedError where a test failed or left no result, where not all of it was built by this run and in
    order, or where readers held their locks for too long.
    """
    with connect("greenery publish") as connection:
        run = store.run(connection, run_id)
        builds = store.newest_builds(connection, store.last_published_at(connection))
        passed = store.passed_tests(connection, run_id)
        owner = buffers.begun_by(connection)
    if run and run.published_at and run_id not in {builder for builder, _ in builds.values()}:
        log.info("This run was published at %s UTC; it built nothing since.", f"{run.published_at:%Y-%m-%d %H:%M}")
        return
    if owner != run_id:
        raise NotPublishedError(
            f"Run {owner} has begun to build since this run did, so what is there is no longer this run's; nothing was "
            "published. Let that run publish, or trigger a new one."
        )
    if mixed := mixed_models(run_id, manifest, builds):
        raise NotPublishedError(
            f"{len(mixed)} of {len(manifest.models)} models are not as this run built them, in order, since the last "
            f"publish; publishing would mix days, so nothing was published:\n{_lines(mixed)}\n"
            "Trigger a new run, or clear check_sources with everything downstream of it."
        )
    if missing := unproven_tests(manifest, builds, passed):
        raise NotPublishedError(
            f"{len(missing)} tests of severity error have no passing result on what this run built, so nothing was "
            f"published:\n{_lines(test.name for test in missing)}\n"
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


def mixed_models(run_id: str, manifest: Manifest, builds: Mapping[str, tuple[str, datetime]]) -> list[str]:
    """Models that were not written last by this run, or before a model that they read: unique ids, sorted.

    `builds` says by model which run wrote it last since the schemas were exchanged, and when.
    """

    def in_order(model: str) -> bool:
        if model not in builds or builds[model][0] != run_id:
            return False
        parents = manifest.ancestors(model) & builds.keys()
        return all(builds[parent][1] <= builds[model][1] for parent in parents)

    return sorted(model for model in manifest.models if not in_order(model))


def unproven_tests(
    manifest: Manifest, builds: Mapping[str, tuple[str, datetime]], passed: Mapping[str, datetime]
) -> list[DataTest]:
    """The error-severity tests that have not passed in this run since the models that they read were built, by name.

    Task states don't say this: a test that no task runs fails no task.
    """

    def proven(test: DataTest) -> bool:
        at = passed.get(test.unique_id)
        return at is not None and all(builds[model][1] <= at for model in test.parents & builds.keys())

    missing = [test for test in manifest.data_tests if test.severity == "error" and not proven(test)]
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
