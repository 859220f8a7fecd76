"""The promise of a day is that its data is published in time. Whether it is at risk, by what is usual.

Three things are known of the past: when each raw table came that a run built from, when runs began, and how long it
took from the end of each task until the publish. What did not come when it always does, and a run from whose place it
usually takes longer than there is time, put the promise at risk. That is said once, while there is time to do
something.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from statistics import median, quantiles

from croniter import croniter
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from include import raw, settings, words
from include.results import publications
from include.slack import send
from include.slack.message import listed

# How far one looks back, and how much there has to be to say what is usual.
PAST, LEAST_PAST = timedelta(days=60), timedelta(days=14)
# Of a schedule that runs by the hour, so many runs tell as much.
MOST_RUNS, LEAST_RUNS = 500, 10
# Of the last runs, so many say how long a run takes from each of its tasks on.
MOST_MEASURED = 30
# On one weekday, so many times tell what is usual on it; fewer are told with all other days.
OF_A_WEEKDAY = 5
# What comes as often as this is awaited.
ALWAYS = 0.9
# What is late by less is not missed.
PATIENCE = timedelta(minutes=10)
# Where clocks change, what goes by local time comes an hour later. That is waited for, up to so long before the tick.
CLOCKS_CHANGE, IN_TIME = timedelta(hours=1) + PATIENCE, timedelta(minutes=30)


@dataclass(frozen=True)
class Usual:
    """By when something usually comes, and from when on it is missed."""

    by: datetime
    missed_from: datetime


@dataclass(frozen=True)
class Risk:
    """Why the promise to publish by `by`, of the run that is due at `due`, is at risk.

    `awaited` are the raw tables that have not come since `loaded_since`, when the run before began.
    """

    due: datetime
    by: datetime
    why: str
    awaited: tuple[str, ...]
    loaded_since: datetime


@dataclass(frozen=True)
class AtRisk:
    """A warning that was given, and whether it was right; None where its time has not come.

    It was right where nothing was published in time, or something without what was awaited.
    """

    due: datetime
    by: datetime
    said_at: datetime
    why: str
    was_right: bool | None


def warnings(connection: Connection) -> list[AtRisk]:
    """All that were given, the newest first."""
    with connection.cursor() as cursor:
        cursor.execute("select due, promised_by, said_at, why, not kept from ops.risks order by due desc")
        return [AtRisk(*row) for row in cursor.fetchall()]


def usual(came: Mapping[datetime, datetime | None], tick: datetime) -> Usual | None:
    """When something usually comes for the run of a tick, by when it came for those before; None where it did not come.

    None where two weeks of past are not there, or where it does not always come on this weekday.
    """
    if not came or tick - min(came) < LEAST_PAST:
        return None
    of_weekday = {former: at for former, at in came.items() if former.weekday() == tick.weekday()}
    offsets = _offsets(of_weekday)
    if len(offsets) < 2 or len(offsets) < ALWAYS * len(of_weekday):
        return None
    if len(offsets) < OF_A_WEEKDAY:
        offsets = _offsets(came)
    *_, last = tenths = quantiles(offsets, n=10, method="inclusive")
    patience = max(PATIENCE, 1.5 * timedelta(seconds=last - tenths[0]))
    by = tick + timedelta(seconds=last)
    return Usual(by, max(by + patience, min(by + CLOCKS_CHANGE, tick - IN_TIME)))


def time_left(spent: Mapping[str, Sequence[float]], done: set[str]) -> timedelta | None:
    """How long it usually takes at least until the publish, where some tasks are done.

    `spent` says by task how many seconds there were from its end to the publish, in former runs. A task that is not
    done has all of that before it.
    """
    usually = [median(seconds) for task, seconds in spent.items() if task not in done and len(seconds) >= LEAST_RUNS]
    return timedelta(seconds=max(usually)) if usually else None


def risk(connection: Connection, now: datetime, published_at: datetime | None) -> Risk | None:
    """Why the next promise is at risk; None where it is not, or where that was said before.

    `published_at` is when new data was last published. What somebody holds back, and a run that failed, are known.
    """
    schedule, grace = settings.schedule(), settings.published_by()
    if schedule is None:
        return None
    due = croniter(schedule, (now - grace).astimezone(UTC)).get_next(datetime)
    if (published_at and published_at >= due) or _was_said(connection, due) or publications.hold(connection):
        return None
    by, past = due + grace, _Past(_ticks(schedule, due), _runs(connection, due - PAST))
    begun = [run for run in past.runs if run.started_at >= due]
    if not past.ticks or (begun and send.said(connection, begun[-1].run_id, "failed")):
        return None
    last = past.ticks[-1]
    since = past.begun(due)[last] or last
    awaited = {} if settings.shop_database_url() else _awaited(connection, past, due, since, now)
    if awaited:
        verb, there = ("comes", "is") if len(awaited) == 1 else ("come", "are")
        at = _clock(max(awaited.values()), due)
        why = f"{listed([raw.called(name) for name in awaited])} usually {verb} by {at} and {there} not there"
    else:
        why = _of_the_run(connection, past, begun, due, by, now)
    return Risk(due, by, why, tuple(awaited), since) if why else None


def note(connection: Connection, risk: Risk, now: datetime) -> bool:
    """Keep a warning, in the caller's transaction; False where it was given before."""
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into ops.risks (due, promised_by, said_at, why, awaited, loaded_since)"
            " values (%s, %s, %s, %s, %s, %s) on conflict (due) do nothing",
            (risk.due, risk.by, now, risk.why, list(risk.awaited), risk.loaded_since),
        )
        return cursor.rowcount > 0


def settle(connection: Connection, now: datetime) -> None:
    """Note of warnings whose time has come whether the promise was kept, in the caller's transaction.

    That is in `ops`, since who reads the page reads no raw table.
    """
    with connection.cursor() as cursor:
        cursor.execute("select from ops.risks where kept is null and promised_by <= %s limit 1", (now,))
        if not cursor.rowcount:
            return
        came = sql.SQL("false")  # where nobody notes loads any more
        if raw.exists(cursor, "loads"):
            came = sql.SQL(
                "exists (select from {} where table_name = awaited.name"
                " and loaded_at > told.loaded_since and loaded_at <= runs.started_at)"
            ).format(raw.named("loads"))
        cursor.execute(
            sql.SQL(
                """
                update ops.risks as told
                set kept = exists (
                    select from ops.publications as made
                    join ops.runs using (run_id)
                    where made.published_at = made.data_as_of
                        and made.published_at between told.due and told.promised_by
                        and not exists (select from unnest(told.awaited) as awaited (name) where not {came})
                )
                where kept is null and promised_by <= %s
                """
            ).format(came=came),
            (now,),
        )


@dataclass(frozen=True)
class _Run:
    """A run, and when it was first published, if it was."""

    run_id: str
    started_at: datetime
    published_at: datetime | None


@dataclass(frozen=True)
class _Past:
    """The ticks before one that is due, and the runs since the first of them, both oldest first."""

    ticks: list[datetime]
    runs: list[_Run]

    def begun(self, due: datetime) -> dict[datetime, datetime | None]:
        """By tick, when its run began; None where none did before the next tick."""
        starts = [run.started_at for run in self.runs]
        found = {}
        for tick, following in pairwise([*self.ticks, due]):
            at = bisect_left(starts, tick)
            found[tick] = starts[at] if at < len(starts) and starts[at] < following else None
        return found


def _ticks(schedule: str, due: datetime) -> list[datetime]:
    ticks = croniter(schedule, due)
    former = (ticks.get_prev(datetime) for _ in range(MOST_RUNS))
    return sorted(takewhile(lambda tick: tick >= due - PAST, former))


def _runs(connection: Connection, since: datetime) -> list[_Run]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select runs.run_id, runs.started_at, min(made.published_at)
            from ops.runs
            left join ops.publications as made
                on made.run_id = runs.run_id and made.published_at = made.data_as_of
            where runs.started_at >= %s
            group by runs.run_id
            order by runs.started_at
            """,
            (since,),
        )
        return [_Run(*row) for row in cursor.fetchall()]


def _awaited(connection: Connection, past: _Past, due: datetime, since: datetime, now: datetime) -> dict[str, datetime]:
    """The raw tables that are missed now, and by when each usually comes: the last load before a run began."""
    begun = past.begun(due)
    starts = [begun[tick] or tick for tick in past.ticks]
    missed = {}
    for table, loads in sorted(_loads(connection, due - PAST).items()):
        if loads[-1] > since:
            continue
        came = {}
        for tick, (former, start) in zip(past.ticks[1:], pairwise(starts), strict=True):
            if loads[0] <= start:
                last = loads[bisect_right(loads, start) - 1]
                came[tick] = last if last > former else None
        if (wont := usual(came, due)) and now >= wont.missed_from:
            missed[table] = wont.by
    return missed


def _of_the_run(
    connection: Connection, past: _Past, begun: Sequence[_Run], due: datetime, by: datetime, now: datetime
) -> str | None:
    """Why the run of a tick can't be expected to publish in time, if so; `begun` are the runs since then."""
    published = [run for run in past.runs if run.published_at and run.started_at < due]
    if not begun:
        since_first = {
            tick: at for tick, at in past.begun(due).items() if past.runs and tick >= past.runs[0].started_at
        }
        start = usual(since_first, due)
        if start and now >= start.missed_from:
            return f"No run has begun, and one usually begins by {_clock(start.by, due)}"
        return None
    run = begun[-1]
    if len(published) < LEAST_RUNS or due - published[0].started_at < LEAST_PAST:
        return None
    left = time_left(_spent(connection, published), _tasks_done(connection, run.run_id))
    if left is None or now + left <= by:
        return None
    return f"Run {run.run_id} is slower than usual: from where it is it usually takes {words.span(left)} more"


def _was_said(connection: Connection, due: datetime) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("select from ops.risks where due = %s", (due,))
        return cursor.rowcount > 0


def _loads(connection: Connection, since: datetime) -> dict[str, list[datetime]]:
    """When each raw table was loaded, the oldest first."""
    found = defaultdict(list)
    with connection.cursor() as cursor:
        if raw.exists(cursor, "loads"):
            cursor.execute(
                sql.SQL("select table_name, loaded_at from {} where loaded_at >= %s order by loaded_at").format(
                    raw.named("loads")
                ),
                (since,),
            )
            for table, loaded_at in cursor.fetchall():
                found[table].append(loaded_at)
    return found


def _spent(connection: Connection, published: Sequence[_Run]) -> dict[str, list[float]]:
    """By task, how many seconds there were from its last result to the publish, in the last runs that published."""
    last = published[-MOST_MEASURED:]
    found = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(
            "select run_id, task_id, max(recorded_at) from ops.node_results where run_id = any(%s) group by 1, 2",
            ([run.run_id for run in last],),
        )
        ended = {run.run_id: run.published_at for run in last}
        for run_id, task, recorded_at in cursor.fetchall():
            found[task].append((ended[run_id] - recorded_at).total_seconds())
    return found


def _tasks_done(connection: Connection, run_id: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("select distinct task_id from ops.node_results where run_id = %s", (run_id,))
        return {task for (task,) in cursor.fetchall()}


def _offsets(came: Mapping[datetime, datetime | None]) -> list[float]:
    return [(at - tick).total_seconds() for tick, at in came.items() if at]


def _clock(at: datetime, due: datetime) -> str:
    """A time, with its day where that is another one than that of what is due."""
    at = at.astimezone(UTC)
    return f"{at:%H:%M} UTC" if at.date() == due.date() else words.moment(at)
