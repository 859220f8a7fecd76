"""Whether a run may publish: only what it built itself, in order, from one moment of raw, and proved by every test.

The gate is a list and not a colour: task states don't say that a test which no task runs fails no task.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from airflow.sdk.exceptions import AirflowFailException
from psycopg2.extensions import connection as Connection

from include import words
from include.daily import buffers
from include.daily.buffers import Buffer
from include.dbt_project.manifest import ANY_ROW, DataTest, Manifest
from include.results import hooks, node_results, publications
from include.results.failures import without_data
from include.results.node_results import Pass
from include.settings import BUILT
from include.unusual import words as series_words
from include.unusual.look import Looked

# Who built a model last, and when, by its unique id.
Builds = Mapping[str, tuple[str, datetime]]


@dataclass(frozen=True)
class Built:
    """What there is to publish: the buffer, and who built what into it since its run began."""

    buffer: Buffer
    builds: Builds


def built(connection: Connection) -> Built:
    """What the build schema holds now."""
    buffer, live = buffers.current(connection), publications.live(connection)
    moments = [moment for moment in (buffer.since, live.published_at if live else None) if moment]
    return Built(buffer, node_results.newest_builds(connection, max(moments, default=None)))


class NotPublishedError(AirflowFailException):
    """Nothing was published and nothing has changed; the message says what stood in the way. A retry would not help."""


def check_built(
    connection: Connection,
    run_id: str,
    manifest: Manifest,
    built: Built,
    *,
    project_has_changed: bool = False,
) -> None:
    """Raise NotPublishedError unless what the build schema holds is this run's, whole, and of one moment of raw.

    Nobody can waive this: what is a mix of days is nobody's data. `project_has_changed` says that Airflow draws the
    run's tasks of another project than the run is made of.
    """
    if built.buffer.run_id is None:
        raise NotPublishedError(
            f"No run has begun to build in schema {BUILT} since it was exchanged or made anew, so nothing was "
            "published. Trigger a new run."
        )
    if built.buffer.run_id != run_id:
        raise NotPublishedError(
            f"Run {built.buffer.run_id} has begun to build since this run did, so what is there is no longer this "
            "run's; nothing was published. Let that run publish, or trigger a new one."
        )
    rewritten = {model for model, (_, at) in built.builds.items() if built.buffer.built.get(model, at) > at}
    way_on = (
        "The dbt project has changed since this run began: the run goes on with what it began with, and what the "
        "project has lost since has no task any more. Trigger a new run."
        if project_has_changed
        else "Trigger a new run, or clear check_sources with everything downstream of it."
    )
    if mixed := sorted({*mixed_models(run_id, manifest, built.builds), *rewritten}):
        raise NotPublishedError(
            f"{len(mixed)} of {len(manifest.models)} models are not as this run built them, in order, since it began; "
            f"publishing would mix days, so nothing was published:\n{_lines(mixed)}\n{way_on}"
        )
    times = [at for model, (_, at) in built.builds.items() if model in manifest.models]
    if times and (loaded_at := buffers.loaded_since_begin(connection, after=min(times), before=max(times))):
        raise NotPublishedError(
            f"Raw was loaded at {loaded_at:%d %b %Y %H:%M:%S} UTC while this run built, so some of its models "
            "tell what was before and some what came after; nothing was published. Clear check_sources with everything "
            "downstream of it."
        )


def check_clock(connection: Connection, begun_at: datetime | None) -> None:
    """Raise NotPublishedError where the clock was set back behind the last publish or behind the begin of the run.

    What was built since looks older. Nobody can waive this either, as it can't be told then what this run built.
    """
    with connection.cursor() as cursor:
        cursor.execute("select max(published_at), clock_timestamp() from ops.publications")
        published_at, now = cursor.fetchone()
    for event, at, way_on in (
        ("marts were published", published_at, "Set it right, or wait until then; then trigger a new run."),
        ("the run began", begun_at, "See that it is right, then trigger a new run."),
    ):
        if at and at > now:
            raise NotPublishedError(
                f"By the server's clock it is {now:%d %b %Y %H:%M:%S} UTC, and {event} at {at:%d %b %Y %H:%M:%S} UTC, "
                f"which is still to come; nothing was published. The clock was set back, or was ahead before. {way_on}"
            )


def check_not_held(connection: Connection) -> None:
    """Raise NotPublishedError if somebody holds publishing back."""
    if held := publications.hold(connection):
        raise NotPublishedError(
            f"{held.by} holds publishing back since {held.decided_at:%d %b %H:%M} UTC: {held.reason}. "
            "Nothing was published. `python -m include.publish release` lets the next run publish; this one can be "
            "published by hand."
        )


def check_hooks(connection: Connection, run_id: str) -> None:
    """Raise NotPublishedError if a hook of dbt's run failed after the models were built."""
    if problem := hooks.problem(connection, run_id):
        raise NotPublishedError(problem)


def check_proven(
    manifest: Manifest, built: Built, passed: Mapping[str, Pass], waived: Collection[str] = frozenset()
) -> bool:
    """Whether all error-severity tests have passed on this build; raise NotPublishedError if nobody lets one through.

    `passed` says how each did since the run last began.
    `waived` are the unique ids of tests that somebody lets through.
    """
    unproven = unproven_tests(manifest, built.builds, passed)
    if missing := [one for one in unproven if one.unique_id not in waived]:
        raise NotPublishedError(
            f"{len(missing)} tests of severity error have no passing result on what this run built, so nothing was "
            f"published:\n{_lines(_unproven(test, passed.get(test.unique_id)) for test in missing)}\n"
            "Clear the tasks that run them (their logs say what went wrong); publish follows."
        )
    return not unproven


def check_usual(run_id: str, manifest: Manifest, seen: Looked) -> None:
    """Raise NotPublishedError if something is unusual whose owner wants no publish with it.

    Or if it could not be found out whether it is.
    """
    # The ways out before the list: a message cuts what is long.
    by_hand = f"`python -m include.publish publish --run {run_id} --reason …`"
    if held := [series_words.title(one.series, manifest) for one in seen.unusual if one.holds]:
        raise NotPublishedError(
            f"Held: {words.count(len(held), 'figure')} {'is' if len(held) == 1 else 'are'} unusual (`unusual: hold`). "
            f"Answer `expected` and clear publish; or publish it all the same: {by_hand}. Nothing was published:\n"
            f"{_lines(held)}"
        )
    if unknown := [without_data(one.why) for one in seen.not_seen if one.holds]:
        raise NotPublishedError(
            "Held: what says `unusual: hold` could not be looked at. "
            f"Mend that and clear publish; or publish it all the same: {by_hand}. Nothing was published:\n"
            f"{_lines(unknown)}"
        )


def mixed_models(run_id: str, manifest: Manifest, builds: Builds) -> list[str]:
    """Models that were not built last, and well, by this run, or before a model that they read: unique ids, sorted.

    `builds` says by model which run built it last since this one began, and when.
    """

    def in_order(model: str) -> bool:
        if model not in builds or builds[model][0] != run_id:
            return False
        parents = manifest.ancestors(model) & builds.keys()
        return all(builds[parent][1] <= builds[model][1] for parent in parents)

    return sorted(model for model in manifest.models if not in_order(model))


def unproven_tests(manifest: Manifest, builds: Builds, passed: Mapping[str, Pass]) -> list[DataTest]:
    """The error-severity tests that have not passed in this run since the models that they read were built, by name.

    One that ran milder than its release says has not: what it asks of the environment was another where it ran.
    """

    def proven(test: DataTest) -> bool:
        one = passed.get(test.unique_id)
        return (
            one is not None
            and _as_severe(test, one)
            and all(builds[model][1] <= one.at for model in test.parents & builds.keys())
        )

    missing = [test for test in manifest.data_tests if test.severity == "error" and not proven(test)]
    return sorted(missing, key=lambda test: test.name)


def _as_severe(test: DataTest, ran: Pass) -> bool:
    return (ran.severity, ran.error_if or ANY_ROW) == (test.severity, test.error_if)


def _unproven(test: DataTest, ran: Pass | None) -> str:
    if ran is None or _as_severe(test, ran):
        return test.name
    return (
        f"{test.name}, which ran with severity {ran.severity} and error_if {ran.error_if or ANY_ROW}, and not with "
        f"severity {test.severity} and error_if {test.error_if}: the environment of its task is another than that of "
        "the dag-processor"
    )


def _lines(names: Iterable[str]) -> str:
    return "\n".join(f"  {name}" for name in names)
