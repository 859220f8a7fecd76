"""The last word of a run: its one Slack message, whatever became of it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
from airflow.sdk import get_current_context, task
from psycopg2.extensions import connection as Connection

from include import settings
from include.daily import DAG_ID, ahead, metrics
from include.daily.admission import let_go, release_of
from include.dbt_project import release
from include.dbt_project.manifest import read
from include.results import answered, explained, figures, node_results, orders, publications, runs
from include.results.failures import without_data
from include.results.summary import gather
from include.slack import notices, outbox, render, send
from include.slack.channels import Audience
from include.slack.message import Message
from include.slack.transport import UnavailableError
from include.unusual import observe
from include.unusual.look import look_at_raw
from include.warehouse import connect, is_gone, sandbox

# Under this name the report leaves word in Airflow that it spoke while the warehouse was down.
POSTED_AT = "posted_past_the_outbox_at"
# What is older is no news.
_NEWS = timedelta(days=1)
_NO_LOSS = (ahead.TASK, "failed")

log = logging.getLogger(__name__)


@task(task_id="report", retries=3, retry_delay=10)
def report() -> None:
    """Sum the run up, keep the message and send it. A teardown of the DAG: it runs always and colours nothing."""
    context = get_current_context()
    run_id, dag_id, instance = context["run_id"], context["dag"].dag_id, context["ti"]
    states = instance.get_task_states(dag_id=dag_id, run_ids=[run_id]).get(run_id, {})
    try:
        _tell(dag_id, run_id, states, _begun(context), run_failed=_has_failed(states))
    except Exception as error:
        if instance.try_number <= instance.max_tries:
            raise
        if isinstance(error, UnavailableError):
            log.exception("The message is kept: the next run's report or the watchdog sends it.")
            return
        if send.post(run_id, _last_words(run_id, settings.run_url(dag_id, run_id), error)):
            instance.xcom_push(POSTED_AT, datetime.now(UTC).isoformat())
        raise
    _drop_unused_sandboxes()


def report_backstop(context: Any) -> None:
    """The DAG's on_failure_callback: says what became of the run where `report` itself could not."""
    run_id, dag_id, begun = context["run_id"], context["dag"].dag_id, _begun(context)
    posted_at = _posted_at(context, dag_id, run_id)
    with connect("greenery report") as connection:
        kinds = ("failed",)
        if publications.made_since(connection, run_id, begun):
            # That somebody published by hand what was told as failed is told as their decision.
            by_hand = publications.of_run(connection, run_id).decision is not None
            kinds = ("published", "overtaken", *(kinds if by_hand else ()))
        told = any(send.told(connection, run_id, kind, begun) for kind in kinds)
        told = told or _was_posted(connection, run_id, posted_at)
    if told:
        log.info("%s: the report has told what became of it; there is nothing to add.", run_id)
    else:
        _tell(dag_id, run_id, {}, begun, run_failed=True)


def tell_of_ended(context: Any, now: datetime) -> None:
    """Tell what became of the runs of a day that ended without a word: their report was killed, and its backstop too.

    Also of one that had told something before it was cleared. `context` is that of any task, which can ask Airflow for
    runs and their tasks.
    """
    instance = context["ti"]
    with connect("greenery report") as connection:
        untold = runs.untold(connection, now - _NEWS)
    for run in untold:
        asked = {"dag_id": DAG_ID, "run_ids": [run.run_id]}
        if not instance.get_dr_count(**asked, states=["success", "failed"]):
            continue
        posted_at = _posted_at(context, DAG_ID, run.run_id)
        with connect("greenery report") as connection:
            if _was_posted(connection, run.run_id, posted_at):
                continue
        states = instance.get_task_states(**asked).get(run.run_id, {})
        if run.was_cleared and not _has_failed(states):
            continue  # as where a task was cleared alone: what it told still holds
        try:
            _say(DAG_ID, run.run_id, states, run.since, run_failed=_has_failed(states))
        except UnavailableError:
            log.exception("The message is kept: the next run's report or the watchdog sends it.")
        except Exception as error:
            if is_gone(error):
                raise
            log.exception("%s ended, and what became of it can't be told.", run.run_id)
            with connect("greenery report") as connection:
                send.keep(connection, run.run_id, _last_words(run.run_id, settings.run_url(DAG_ID, run.run_id), error))


def _has_failed(states: dict[str, str | None]) -> bool:
    return states.get("publish") not in ("success", "skipped")


def _begun(context: Any) -> datetime | None:
    """When the run was last triggered or cleared; None where a callback was not told."""
    return context["dag_run"].start_date if "dag_run" in context else None


def _posted_at(context: Any, dag_id: str, run_id: str) -> datetime | None:
    """When a run's report said its last words past the outbox, which knows nothing of them; None if it did not."""
    try:
        posted_at = context["ti"].xcom_pull(dag_id=dag_id, run_id=run_id, task_ids="report", key=POSTED_AT)
        return datetime.fromisoformat(posted_at) if posted_at else None
    except Exception:
        # Airflow gives a callback no task where the file has changed. Twice is better than not at all.
        log.warning("Whether the report said anything could not be asked.", exc_info=True)
        return None


def _was_posted(connection: Connection, run_id: str, posted_at: datetime | None) -> bool:
    """Whether what its report said then was the last of it: what a run that was cleared did since is news."""
    if posted_at is None:
        return False
    last_word_at = runs.last_word_at(connection, run_id)
    return last_word_at is None or last_word_at < posted_at


def _last_words(run_id: str, run_url: str, error: Exception) -> dict[Audience, Message]:
    """What is said where the report itself can't be made. What the error says is for engineers: it names servers.

    But no row, which Postgres quotes and which may be a person's.
    """
    say = notices.unreachable if is_gone(error) else notices.unreported
    return {
        Audience.ENGINEERS: say(run_id, run_url, f"{type(error).__name__}: {without_data(str(error))}"),
        Audience.STAKEHOLDERS: say(run_id, run_url, None),
    }


def _tell(
    dag_id: str, run_id: str, states: dict[str, str | None], begun: datetime | None = None, *, run_failed: bool
) -> None:
    """For the run itself: give raw back, and say what became of it."""
    try:
        if states.get("publish") == "upstream_failed":  # or it has looked itself
            look_at_raw(run_id, read(release_of(run_id).manifest), begun)
    finally:
        let_go(run_id)  # what comes now reads no raw table
    _say(dag_id, run_id, states, begun, run_failed=run_failed)


def _say(dag_id: str, run_id: str, states: dict[str, str | None], begun: datetime | None, *, run_failed: bool) -> None:
    project, problem = release_of(run_id), release.problem()
    notes: tuple[str, ...] = ()
    with connect("greenery report") as connection:
        if run_failed and publications.made_since(connection, run_id, begun):
            run_failed = False
            if publications.of_run(connection, run_id).decision is None:
                # Whether it was published is in the warehouse; what Airflow knows is whether the task heard so.
                notes, states = (render.unheard(),), states | {"publish": "success"}
        # Where the one dbt was killed, the models' tasks have built: they tell what is wrong, if anything is.
        told = {task: state for task, state in states.items() if task != "report" and (task, state) != _NO_LOSS}
        node_results.settle_tasks(connection, run_id, told)
        answered.settle(connection, run_id, read(project.manifest))
        connection.commit()
        if not run_failed:
            explained.note(run_id, read(project.manifest))
        summary = gather(
            connection,
            run_id,
            settings.run_url(dag_id, run_id),
            run_failed=run_failed,
            facts=read(project.manifest),
            notes=notes,
            project_problem=problem.message if problem else None,
            health_url=settings.health_url("runs", run_id),
        )
        if summary.published:
            figures.keep(connection, run_id, summary.figures)
        metrics.of_run(summary)
        node_results.forget(connection, settings.results_kept_for(), settings.samples_kept_for())
        outbox.forget(connection, settings.messages_kept_for())
        observe.forget(connection, settings.observations_kept_for())
        if summary.order_changes is not None:
            orders.note_told(connection, run_id)  # for what is kept in the outbox arrives
        send.deliver(
            connection,
            run_id,
            {Audience.ENGINEERS: render.render(summary), Audience.STAKEHOLDERS: render.render_state(summary)},
        )


def _drop_unused_sandboxes() -> None:
    """Drop what developers and previews left, where a role for these is configured; that never fails a run."""
    try:
        where = settings.warehouse_developer()
    except ValueError:  # nobody develops on this warehouse
        return
    try:
        with connect("greenery sandboxes", where) as connection:
            for dropped in sandbox.drop_unused(connection):
                log.info("Sandbox %s was not used for %d days and is dropped.", dropped.name, sandbox.KEPT_FOR.days)
    except psycopg2.Error:
        log.exception("Sandboxes that nobody uses are still there; the next run looks again.")
