"""The task of the daily DAG that decides the state of its run."""

from __future__ import annotations

import logging
from typing import Any

import psycopg2
from airflow.sdk import Asset, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from include.answers import answers
from include.daily import admission
from include.dbt_project.manifest import Manifest, read
from include.publish import gate
from include.publish.exchange import exchange
from include.publish.gate import NotPublishedError
from include.raw import lease
from include.receipts import moves
from include.results import node_results, publications
from include.results.failures import without_data
from include.results.publications import Decision
from include.slack import progress
from include.unusual.look import look
from include.warehouse import connect

# Other DAGs can be scheduled on it: it changes when, and only when, tested data was published.
PUBLISHED = Asset(name="greenery_analytics", uri="greenery://warehouse/analytics")

log = logging.getLogger(__name__)


@task(task_id="publish", outlets=[PUBLISHED])
def publish() -> None:
    """Publish what the run built; skipped where the run was published before and has built nothing since."""
    context = get_current_context()
    project = admission.admit(context, builds=False)
    progress.at(context, "publish")
    try:
        with lease.kept(admission.holder_of(context["run_id"])):
            published = publish_run(context["run_id"], read(project.manifest))
    except NotPublishedError as refusal:
        if not published_by_another_try(context):  # else this one was given up, and nothing is wrong
            admission.leave_reason(context, str(refusal))
        raise
    finally:
        try:
            admission.let_go(context["run_id"])  # what comes after reads no raw table
        except psycopg2.Error:
            # What is published is published; report lets go again.
            log.warning("The lease on raw was not given back.", exc_info=True)
    if not published and not published_by_another_try(context):
        raise AirflowSkipException("This run was published before and has built nothing since; nothing has changed.")


def published_by_another_try(context: Any) -> bool:
    """Whether one that died has published since the run was triggered or cleared, or one that took this one's place."""
    with connect("greenery publish") as connection:
        return publications.made_since(connection, context["run_id"], context["dag_run"].start_date)


def publish_run(run_id: str, manifest: Manifest, decision: Decision | None = None) -> bool:
    """Put what this run built in place of what people query, if it is whole and every error-severity test passed on it.

    Somebody's `decision` waives the tests, failed hooks, a hold and what is unusual, and nothing else; a mute may let a
    single test through. False where the run was published before and has built nothing since. Raises
    NotPublishedError, which says why; nothing has changed then.
    """
    with connect("greenery publish") as connection:
        made = gate.built(connection)
        if publications.of_run(connection, run_id) and run_id not in {builder for builder, _ in made.builds.values()}:
            return False
        gate.check_clock(connection, made.buffer.since)
        changed = admission.project_has_changed(connection, run_id)
        gate.check_built(connection, run_id, manifest, made, project_has_changed=changed)
        notes: list[str] = []
        proven = False
        if decision is None:
            # Before what may refuse: days are observed whatever becomes of the run. By hand raw may be newer.
            seen = look(run_id, manifest, made.buffer.since)
            notes = [f"What is unusual could not be looked at: {without_data(one.why)}" for one in seen.not_seen]
            gate.check_not_held(connection)
            gate.check_hooks(connection, run_id)
            passed = node_results.passed_tests(connection, run_id, made.buffer.since)
            proven = gate.check_proven(manifest, made, passed, answers.waived(connection))
            gate.check_usual(run_id, manifest, seen)
        moved = moves.find(connection, manifest)
    exchange(run_id, made.buffer, manifest=manifest, decision=decision, proven=proven, notes=notes, moved=moved)
    return True
