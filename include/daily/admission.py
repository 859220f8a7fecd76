"""A run of the daily DAG: the release that it keeps to its end, and whether one of its tasks may work now."""

from __future__ import annotations

from typing import Any

from airflow.sdk import get_parsing_context
from airflow.sdk.exceptions import AirflowFailException
from psycopg2.extensions import connection as Connection

from include.daily import DAG_ID, buffers
from include.dbt_project import archive, release
from include.fast_cosmos.releases import ProjectError, Release
from include.raw import lease
from include.raw.lease import LeaseHeldError
from include.results import node_results, runs
from include.warehouse import connect


class RefusedError(AirflowFailException):
    """The task may not work now and has changed nothing; the message says why and what to do. No retry would help."""


def current_release() -> Release:
    """The release to draw and run: refreshed while Airflow reads the file to draw it, as it is inside a task."""
    running = get_parsing_context().task_id is not None
    return (release.current() if running else None) or release.refresh()


def release_of(run_id: str) -> Release:
    """The release that a run is made with; the run begins with the current one if it has not begun yet."""
    with connect("greenery run") as connection:
        return release.of_run(connection, _begin(connection, run_id))


def project_has_changed(connection: Connection, run_id: str) -> bool:
    """Whether the run goes on with another release than that of which Airflow draws its tasks by now."""
    begun, now = runs.find(connection, run_id), release.current()
    return bool(begun and now and begun.release != now.stamp)


def holder_of(run_id: str) -> str:
    """What the lease on raw calls a run."""
    return f"run {run_id}"


def admit(context: Any, *, builds: bool) -> Release:
    """Call before a task of a run does anything: takes the lease on raw, and returns the release to work with.

    `builds` says of a task that it goes on with what the run began. Raises RefusedError, or LeaseHeldError while
    another one reads raw, and leaves the reason in `ops` for the run's message.
    """
    try:
        with connect("greenery run") as connection:
            stamp = _begin(connection, context["run_id"])
            runs.note_begun(connection, context["run_id"], context["dag_run"].start_date)
            connection.commit()
            project = release.of_run(connection, stamp)
            release.check(project)
            reason = _refusal(connection, context, builds=builds)
            if reason:
                connection.rollback()  # who is refused keeps no lease
    except LeaseHeldError as error:  # which a retry may find ended
        leave_reason(context, str(error))
        raise
    except ProjectError as error:
        reason = str(error)
    refuse_if(context, reason)
    return project


def refuse_if(context: Any, reason: str | None) -> None:
    """Raise RefusedError if there is a reason to, after leaving it in `ops`."""
    if reason:
        leave_reason(context, reason)
        raise RefusedError(reason)


def leave_reason(context: Any, reason: str) -> None:
    """Keep in `ops`, for the run's message, why a task fails without a word from dbt."""
    instance = context["ti"]
    with connect("greenery run") as connection:
        node_results.record_task(connection, context["run_id"], instance.task_id, instance.try_number, reason)


def has_ended(context: Any, dag_id: str, holder: str) -> bool:
    """Whether a holder of the lease is a run that Airflow knows to have ended, or does not know any more."""
    run_id = holder.removeprefix(holder_of(""))
    active = ["queued", "running"]
    return run_id != holder and not context["ti"].get_dr_count(dag_id, run_ids=[run_id], states=active)


def let_go(run_id: str) -> None:
    """Give the lease on raw back, if the run has it."""
    with connect("greenery run") as connection:
        lease.release(connection, holder_of(run_id))


def let_go_of_ended(context: Any) -> None:
    """Give the lease on raw back for a run that ended without its report, as when `check_sources` was cleared alone.

    Other runs would pass it over; loaders can't ask Airflow.
    """
    with connect("greenery run") as connection:
        lease.release_ended(connection, lambda holder: has_ended(context, DAG_ID, holder))


def _begin(connection: Connection, run_id: str) -> str:
    """The release's stamp; the run begins if it has not."""
    if begun := runs.find(connection, run_id):
        return begun.release
    project = current_release()
    archive.keep(connection, project)
    return runs.begin(connection, run_id, project.stamp)


def _refusal(connection: Connection, context: Any, *, builds: bool) -> str | None:
    run_id = context["run_id"]
    if context["dag_run"].run_type == "backfill":
        return (
            "A backfill can't bring a past day back: raw holds the shop as it is now, and every run builds from that. "
            "Nothing was changed; trigger a run instead, with full_refresh where all of history is to be built anew."
        )
    lease.take(connection, holder_of(run_id), ended=lambda holder: has_ended(context, context["dag"].dag_id, holder))
    if not builds:
        return None
    buffer = buffers.current(connection)
    if buffer.run_id != run_id:
        builder = f"run {buffer.run_id}" if buffer.run_id else "another run"
        return (
            f"What this run built is published, or {builder} has begun to build since; nothing was changed. "
            "Trigger a new run, or clear check_sources with everything downstream of it."
        )
    if loaded_at := buffers.loaded_since_begin(connection):
        return (
            f"Raw was loaded at {loaded_at:%d %b %Y %H:%M:%S} UTC, after this run began, and its models would "
            "tell of two moments; nothing was changed. Clear check_sources with everything downstream of it."
        )
    return None
