"""What people decide themselves, with a login and a reason: back to the former marts, publish all the same, hold back.

Each decision is kept in `ops.decisions`, told in Slack at once, and in the message of the runs that it concerns.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from include import settings
from include.daily import DAG_ID, admission, buffers
from include.dbt_project.manifest import read
from include.dbt_project.release import of_run
from include.erase.by_hand import ERASE, erase_in_airflow
from include.fast_cosmos.releases import verify
from include.publish.exchange import exchange
from include.publish.gate import NotPublishedError
from include.publish.publish import publish_run
from include.raw import lease
from include.raw.lease import Ended, nobody_ended
from include.results import explained, figures, publications, runs
from include.results.publications import HOLD, PUBLISH, RELEASE, ROLL_BACK, Decision
from include.results.summary import gather
from include.settings import BUILT
from include.slack.decision import tell
from include.warehouse import connect

log = logging.getLogger(__name__)

# What can be decided, and what each is for.
ACTIONS = {
    ROLL_BACK: "put the former marts back, if no run has written over them",
    PUBLISH: "publish what a run built although tests failed",
    HOLD: "let no run publish until further notice",
    RELEASE: "let runs publish again",
}
# A rollback is wanted at once; publish has more patience with readers.
ROLLBACK_ATTEMPTS = 5


def roll_back(decided_by: str, reason: str, *, name: str = "", ended: Ended = nobody_ended) -> Decision:
    """Put the former marts back in front of people, as long as no run has written over them.

    Raises NotPublishedError where one has, where nothing was published before, or where a run is under way; `ended`
    says of a run that did not give the lease back whether it has ended.
    """
    with _deciding(ROLL_BACK, None, decided_by, reason, name, ended) as decision:
        with connect("greenery by hand") as connection:
            there = buffers.current(connection)
            former = publications.former(connection, BUILT)
            if former is None:
                raise NotPublishedError("Nothing was published before what people query now, so there is no way back.")
            if buffers.is_written_over(connection, former.schema_oid):
                raise NotPublishedError(
                    "A run has written over the marts as of "
                    f"{former.data_as_of:%d %b %H:%M} UTC, so there is no way back to them. Mend what is wrong and "
                    "trigger a run; `python -m include.publish hold` keeps runs from publishing meanwhile."
                )
        exchange(
            former.run_id,
            there,
            as_of=former.data_as_of,
            decision=decision,
            attempts=ROLLBACK_ATTEMPTS,
        )
    tell(decision)
    return decision


def publish_anyway(
    run_id: str, decided_by: str, reason: str, *, name: str = "", ended: Ended = nobody_ended
) -> Decision:
    """Publish what a run built although tests failed or publishing is held back.

    Raises NotPublishedError where it is not all of that run's, or not of one moment: nobody can waive that.
    """
    with connect("greenery by hand") as connection:
        run = runs.find(connection, run_id)
        if run is None:
            raise NotPublishedError(f"There is no run {run_id!r}; its page in Airflow shows the id.")
        project = of_run(connection, run.release)
    verify(project)
    manifest = read(project.manifest)
    with _deciding(PUBLISH, run_id, decided_by, reason, name, ended) as decision:
        if not publish_run(run_id, manifest, decision):
            raise NotPublishedError(f"Run {run_id} was published before and has built nothing since.")
    explained.note(run_id, manifest)
    summary = None
    try:
        with connect("greenery by hand") as connection:
            url = settings.run_url(DAG_ID, run_id)
            summary = gather(connection, run_id, url, run_failed=False, facts=manifest)
            figures.keep(connection, run_id, summary.figures)
    except Exception:  # whatever a stranger's project makes of it: people are told of the decision
        log.exception("It is published, but the next run's message can't compare its figures with this one's.")
    tell(decision, summary)
    return decision


def hold(decided_by: str, reason: str, *, name: str = "") -> Decision:
    """Keep every later run from publishing until it is released; runs go on to build, test and record history."""
    return _decide_on_runs(HOLD, decided_by, reason, name)


def release(decided_by: str, reason: str, *, name: str = "") -> Decision:
    """Let runs publish again. Raises NotPublishedError where nobody holds them back."""
    return _decide_on_runs(RELEASE, decided_by, reason, name)


def decide(
    action: str, run_id: str | None, decided_by: str, reason: str, *, name: str = "", ended: Ended = nobody_ended
) -> Decision:
    """Carry out a decision by its name. Raises NotPublishedError, or ValueError for a word that is missing.

    `decided_by` is a login (`publications.decide`), `name` what its owner typed beside it.
    """
    if action == PUBLISH:
        if not run_id:
            raise ValueError("To publish takes the id of a run, as its page in Airflow shows it")
        return publish_anyway(run_id, decided_by, reason, name=name, ended=ended)
    if action == ROLL_BACK:
        return roll_back(decided_by, reason, name=name, ended=ended)
    return {HOLD: hold, RELEASE: release}[action](decided_by, reason, name=name)


@task(task_id="decide")
def decide_in_airflow() -> None:
    """The task of `greenery_by_hand`: carries out what its trigger form asks for, for whoever triggered it."""
    context = get_current_context()
    params, login = context["params"], context["dag_run"].triggering_user_name
    if not login:
        raise AirflowFailException(
            "Airflow does not say who triggered this run, and a decision carries a login; nothing was changed. Trigger "
            "it in the UI or by the API, logged in."
        )
    if context["ti"].try_number > 1:
        raise AirflowFailException(
            f"This decision was {login}'s, and somebody cleared it; nothing was changed. Trigger a new run: it carries "
            "your own login."
        )
    if params["action"] == ERASE:
        erase_in_airflow(login, params["user_id"], params["reason"])
        return
    try:
        decide(
            params["action"],
            params["run_id"],
            login,
            params["reason"],
            ended=lambda holder: admission.has_ended(context, DAG_ID, holder),
        )
    except ValueError as error:
        raise AirflowFailException(str(error)) from error


def _decide_on_runs(action: str, decided_by: str, reason: str, name: str) -> Decision:
    with connect("greenery by hand") as connection:
        if action == RELEASE and publications.hold(connection) is None:
            raise NotPublishedError("Nobody holds publishing back; there is nothing to release.")
        decision = publications.decide(connection, action, None, decided_by, reason, name=name)
    tell(decision)
    return decision


@contextmanager
def _deciding(
    action: str, run_id: str | None, decided_by: str, reason: str, name: str, ended: Ended
) -> Iterator[Decision]:
    """A decision that keeps runs and loads out while it takes effect, and is forgotten if it can't.

    Its session stays open for as long: were it killed, nobody would wait for it.
    """
    with connect("greenery by hand") as session:
        decision = publications.decide(session, action, run_id, decided_by, reason, name=name)
        holder = lease.of_decision(decision.decision_id, decision.decided_by)
        try:
            lease.take(session, holder, ended=ended)
        except lease.LeaseHeldError as error:
            raise NotPublishedError(str(error)) from error
        session.commit()
        try:
            yield decision
        except BaseException:
            with connect("greenery by hand") as connection:
                forgotten = publications.forget(connection, decision)
            if not forgotten:
                tell(decision)
            raise
        finally:
            try:
                with connect("greenery by hand") as connection:
                    lease.release(connection, holder)
            except psycopg2.Error:
                log.exception("The lease on raw was not given back; nobody waits for it.")
