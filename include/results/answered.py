"""What people answered, as a run's message tells it: what is new, what is muted, and what has outlived its reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from psycopg2.extensions import connection as Connection

from include.answers import answers, known
from include.answers.answer import About, Answer, Kind
from include.answers.answers import End
from include.dbt_project.manifest import Manifest
from include.results import failures
from include.results.unusual import Finding
from include.unusual import words
from include.unusual.series import Measure, Series

# Who ends what is well again.
BY_ITSELF = "greenery_daily"
# A mute has outlived its reason after so many days on which runs found all of it well.
WELL_DAYS = 3


@dataclass(frozen=True)
class Told:
    """An answer that came, or that somebody ended, since the run before; `about` is what people call the thing."""

    about: str
    answer: Answer
    end: End | None = None


@dataclass(frozen=True)
class Outlived:
    """A mute that outlived its reason: all of it is well since `well_since`; None: it is over, and it still fails."""

    about: str
    answer: Answer
    well_since: date | None


def title(about: About, facts: Manifest) -> str:
    """What people call the thing that an answer is about, as the message and the page call it elsewhere."""
    about = known.shown(facts, about)
    if about.measure in list(Measure):
        return words.title(Series(about.unique_id, Measure(about.measure), about.column, about.item), facts)
    if facts.nodes.get(about.unique_id, {}).get("resource_type") == "test":
        return failures.title_of_test(about.unique_id, facts)
    return known.titled(facts, about)


def settle(connection: Connection, run_id: str, facts: Manifest) -> None:
    """End what somebody sees to, where a run that began after the answer found it well; in the caller's transaction.

    Or where the project has it no more.
    """
    for one in answers.in_force(connection, _today()):
        if one.kind != Kind.MINE or not _came_before(connection, run_id, one):
            continue
        if not known.is_known(facts, one.about.unique_id):
            answers.end(connection, one.answer_id, BY_ITSELF, "the dbt project has it no more")
        elif _is_well(connection, run_id, one, facts):
            answers.end(connection, one.answer_id, BY_ITSELF, f"well again in run {run_id}"[: answers.LONGEST_REASON])


def news(connection: Connection, run_id: str, facts: Manifest) -> tuple[Told, ...]:
    """What was answered and ended since the last word of the run before this one, the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select max(recorded_at)
            from ops.node_results
            where run_id = (
                select run_id
                from ops.runs
                where started_at < (select started_at from ops.runs where run_id = %s)
                order by started_at desc
                limit 1
            )
            """,
            (run_id,),
        )
        since = cursor.fetchone()[0] or datetime.min.replace(tzinfo=UTC)
    found = []
    for one in reversed(answers.kept(connection)):
        ended = one.end if one.end and one.end.ended_by != BY_ITSELF and one.end.ended_at > since else None
        if ended or (one.answer.answered_at > since and one.is_in_force(_today())):
            found.append(Told(title(one.answer.about, facts), one.answer, ended))
    return tuple(found)


def outlived(connection: Connection, run_id: str, facts: Manifest, found_bad: Iterable[str]) -> tuple[Outlived, ...]:
    """Mutes whose matter is well for days, and those whose last day passed since the run before while it still fails.

    `found_bad` are the unique ids of what failed or warned in this run.
    """
    today, bad = _today(), set(found_bad)
    well = [
        Outlived(title(one.about, facts), one, since)
        for one in answers.in_force(connection, today)
        if (since := well_since(connection, one, facts))
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            "select max(started_at) from ops.runs"
            " where started_at < (select started_at from ops.runs where run_id = %s)",
            (run_id,),
        )
        before = cursor.fetchone()[0]
    over = answers.passed_since(connection, before.astimezone(UTC).date(), today) if before else ()
    return (
        *(Outlived(title(one.about, facts), one, None) for one in over if bad & _covered(one, facts)),
        *well,
    )


def answered(findings: Iterable[Finding], given: Iterable[Answer]) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """What is unusual and told, and what of it is muted; each with its answers. `given` are those in force.

    What a muted figure explains is told by itself.
    """
    told, muted, given = [], [], tuple(given)
    for one in findings:
        each = [_answered(part, given) for part in (replace(one, with_it=()), *one.with_it)]
        muted += [part for part in each if part.muted]
        if loud := [part for part in each if not part.muted]:
            told.append(replace(loud[0], with_it=tuple(loud[1:])))
    return tuple(told), tuple(muted)


def _answered(one: Finding, given: Iterable[Answer]) -> Finding:
    about = [answer for answer in given if answers.is_about(answer, one.unusual.series.about())]
    newest = {answer.kind: answer for answer in reversed(about)}
    return replace(one, muted=newest.get(Kind.MUTE), mine=newest.get(Kind.MINE))


def _covered(answer: Answer, facts: Manifest) -> set[str]:
    """Unique ids of the results that an answer is about: a test's own, or a node's with those of its tests."""
    unique_id = answer.about.unique_id
    if answer.about.measure or answer.about.column:
        return set()
    tests = {one.unique_id for one in facts.data_tests if facts.tested(one.unique_id) == [unique_id]}
    return {unique_id, f"{known.FRESHNESS}{unique_id}", *tests}


# By run what became of an answer's matter: its results, and what was unusual of it, where it was observed.
_FOUND = """
with matter as (
    select run_id, bool_or(status not in ('pass', 'success')) as is_bad
    from ops.last_words
    where unique_id = any(%(ids)s) and status <> 'skipped'
    group by run_id

    union all

    select run_id, exists (
        select from ops.unusual
        where unusual.run_id = observed.run_id and unusual.unique_id = %(id)s and %(measure)s in ('', unusual.measure)
            and %(column)s in ('', unusual.column_name) and %(item)s in ('', unusual.item)
    )
    from (
        select distinct run_id
        from ops.observations
        where unique_id = %(id)s and %(measure)s in ('', measure)
            and %(column)s in ('', column_name) and %(item)s in ('', item)
    ) as observed
)

select matter.run_id, min(runs.started_at) as started_at, bool_or(matter.is_bad)
from matter
join ops.runs using (run_id)
where runs.started_at > %(since)s
group by matter.run_id
order by started_at
"""


def _found(connection: Connection, answer: Answer, facts: Manifest) -> list[tuple[str, date, bool]]:
    """The runs since an answer that tell of its matter, their UTC days and whether it was bad; the first one first."""
    about = answer.about
    parameters = {
        "ids": sorted(_covered(answer, facts)),
        "id": about.unique_id,
        "measure": about.measure,
        "column": about.column,
        "item": about.item,
        "since": answer.answered_at,
    }
    with connection.cursor() as cursor:
        cursor.execute(_FOUND, parameters)
        return [(run_id, at.astimezone(UTC).date(), is_bad) for run_id, at, is_bad in cursor.fetchall()]


def _came_before(connection: Connection, run_id: str, answer: Answer) -> bool:
    """Whether an answer was given before a run began."""
    with connection.cursor() as cursor:
        cursor.execute("select started_at > %s from ops.runs where run_id = %s", (answer.answered_at, run_id))
        row = cursor.fetchone()
    return bool(row and row[0])


def _is_well(connection: Connection, run_id: str, answer: Answer, facts: Manifest) -> bool:
    """Whether a run that began after an answer tells of its matter, and nothing of it is bad or was left out."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select exists ("
            "select from ops.last_words where run_id = %s and unique_id = any(%s) and status = 'skipped')",
            (run_id, sorted(_covered(answer, facts))),
        )
        [left_out] = cursor.fetchone()
    told = {one: is_bad for one, _, is_bad in _found(connection, answer, facts)}
    return not left_out and told.get(run_id) is False


def well_since(connection: Connection, answer: Answer, facts: Manifest) -> date | None:
    """The first of enough days in a row on which all that is muted was well; None where there are fewer."""
    if answer.kind != Kind.MUTE:
        return None
    days: list[date] = []
    for _, day, is_bad in _found(connection, answer, facts):
        days = [] if is_bad else [*days, day]
    return days[0] if len(set(days)) >= WELL_DAYS else None


def _today() -> date:
    return datetime.now(UTC).date()
