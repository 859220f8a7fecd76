"""Silence is reported: was what is due by now published? Asked every few minutes, inside Airflow and beside it.

    python -m include.daily.watchdog

Airflow can't report that it is dead itself, so cron, or a container beside it, runs the command as well: exit code 0
where all is well, 1 where nothing was published in time, 2 where that can't be told, with one line on stdout. It needs
no database of Airflow's; it sends through Slack connections in its environment (`AIRFLOW_CONN_SLACK_…`). Where there
is none it says nothing to Slack and leaves that to the DAG, which may know one.

What is late is said once a day, and once more when it is there; what will be late by all that is usual
(`include.daily.promise`) is said before, once. The outbox remembers that, so who asks first says it.
So is what somebody decided by hand who was killed before telling it.
The same is said of backups, to engineers, where GREENERY_BACKUP_SCHEDULE says when one is due.
That the warehouse is down is remembered in the folder `watchdog` of the state folder: let both askers share that one.
"""

from __future__ import annotations

import fcntl
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2
from airflow.sdk import get_current_context, task
from croniter import croniter
from psycopg2.extensions import connection as Connection
from psycopg2.extras import NamedTupleCursor

from include import settings
from include.command_line import log_to_stderr
from include.daily import admission, metrics, promise, report
from include.results import backups, publications
from include.results.backups import Made
from include.results.failures import without_data
from include.slack import decision, notices, send
from include.slack.channels import Audience, channels, to_all
from include.slack.notices import BACK, LATE
from include.slack.transport import RefusedError, UnavailableError
from include.warehouse import connect, is_gone

FINE, TOO_LATE, UNKNOWN = 0, 1, 2
# A warehouse that restarts is not worth waking somebody.
PATIENCE = timedelta(minutes=2)
# How long after its tick a backup should be there.
BACKUP_GRACE = timedelta(hours=1)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """What was found: an exit code, and a sentence for whoever reads it."""

    code: int
    says: str


@dataclass(frozen=True)
class Scheduled:
    """A schedule, and since when its ticks count; None where only people start runs."""

    schedule: str | None
    since: datetime


@dataclass(frozen=True)
class Facts:
    """What the warehouse knows.

    `scheduled` are the schedules that counted so far, the last one still does. `published_at` is when a run last put
    new marts in front of people, rollbacks not counted. `said` is the watchdog's own last word, late or back, `said_of`
    the tick that it was about, and `late_since` the first one that was said to be late since the last that came.
    """

    scheduled: tuple[Scheduled, ...]
    published_at: datetime | None
    said: str | None = None
    said_of: datetime | None = None
    late_since: datetime | None = None


def due_tick(schedule: str | None, now: datetime, grace: timedelta, since: datetime) -> datetime | None:
    """The last tick of the schedule whose run should have published by `now`; None where none has come since `since`.

    All in UTC. Raises ValueError for what is no cron expression.
    """
    if schedule is None:
        return None
    latest = (now - grace).astimezone(UTC) + timedelta(microseconds=1)  # a tick at this very moment counts
    tick = croniter(schedule, latest).get_prev(datetime)
    # A beginning that is yet to come tells of a clock that was wrong: nothing would be late until then.
    return tick if tick >= since or since > now else None


def last_due(scheduled: Sequence[Scheduled], now: datetime, grace: timedelta) -> datetime | None:
    """The same of schedules that took turns: a tick counts where its schedule did as it came.

    So nothing is late that nobody had promised, and what was promised before a change still is.
    """
    if scheduled[-1].schedule is None:
        return None
    until = now
    for one in reversed(scheduled):
        if tick := due_tick(one.schedule, until, grace, one.since):
            return tick
        until = min(until, one.since + grace - timedelta(microseconds=1))
    return None


def to_say(due: datetime | None, facts: Facts) -> str | None:
    """What there is to say now: that it is late, that it is back, or nothing."""
    published = facts.published_at
    if is_late(due, facts):
        said_today = facts.said == LATE and facts.said_of.date() >= due.date()
        return None if said_today else LATE
    return BACK if facts.said == LATE and published and published >= facts.said_of else None


def is_late(due: datetime | None, facts: Facts) -> bool:
    """Whether what was due has not been published."""
    return due is not None and (facts.published_at is None or facts.published_at < due)


def check(now: datetime | None = None, *, speaks: bool = True) -> Verdict:
    """Look, say what there is to say, and send what waits in the outbox; what Slack doesn't take now stays there.

    One that does not speak only looks, and sends what waits. Raises ValueError for a setting that is none, and
    psycopg2.ProgrammingError for a warehouse without `ops`.
    """
    now = now or datetime.now(UTC)
    try:
        with connect("greenery watchdog") as connection:
            if speaks:
                _was_up(connection, now)
            due, facts = _look(connection, now, speaks=speaks)
            _look_ahead(connection, now, facts, speaks=speaks)
            if speaks:
                decision.keep_untold(connection, now)
            backup = backups.newest(connection, now)
            backup_late = _look_at_backups(connection, now, backup, speaks=speaks)
            with suppress(UnavailableError):  # which is logged
                send.send_waiting(connection)
            metrics.of_now(connection, now, late=is_late(due, facts), backup=backup, backup_late=backup_late)
    except psycopg2.Error as error:
        if not is_gone(error):
            raise
        if speaks:
            _is_down(now, str(error))
        return Verdict(UNKNOWN, f"The warehouse can't be reached: {error}".strip())
    if is_late(due, facts):
        return Verdict(TOO_LATE, f"Late: nothing was published since {due:%d %b %Y %H:%M} UTC, when it was due.")
    at = facts.published_at
    return Verdict(FINE, f"Fine: last published {at:%d %b %Y %H:%M} UTC." if at else "Fine: nothing is due yet.")


@task(task_id="watch")
def watch() -> None:
    """The task of `greenery_watchdog`; red where it can't tell.

    It also lets loaders in again after a run that has ended without doing so, tells what became of one that has ended
    without saying so, and notes by which schedule runs come: it is told so by the same settings as the scheduler, which
    who asks beside Airflow may not be.
    """
    verdict = check()
    log.info(verdict.says)
    if verdict.code == UNKNOWN:
        raise RuntimeError(verdict.says)
    admission.let_go_of_ended(context := get_current_context())
    report.tell_of_ended(context, now := datetime.now(UTC))
    note_schedule(now)


def main() -> int:
    """The command: says on stdout what it found, and returns the exit code."""
    try:
        verdict = check(speaks=bool(channels()))
    except Exception as error:  # whatever it is, cron has to hear of it
        verdict = Verdict(UNKNOWN, f"It can't be told whether the data is late: {without_data(str(error))}")
    print(" ".join(verdict.says.split()))
    return verdict.code


def _look(connection: Connection, now: datetime, *, speaks: bool) -> tuple[datetime | None, Facts]:
    """What is due and what is known; says what there is to say of it."""
    with connection.cursor() as cursor:
        # Who asks at the same moment waits until what is to be said is kept.
        cursor.execute("select pg_advisory_xact_lock(hashtext('greenery watchdog'))")
    facts = known(connection, now)
    grace = settings.published_by()
    due = last_due(facts.scheduled, now, grace)
    word = to_say(due, facts) if speaks else None
    live = publications.live(connection)
    as_of = live.data_as_of if live else None
    links = {"url": settings.airflow_url(), "health_url": settings.health_url()}
    if word == LATE:
        begun, held = _begun_since(connection, due), publications.hold(connection)
        failed = bool(begun) and send.said(connection, begun, "failed")
        message = notices.late(due, due + grace, data_as_of=as_of, run_id=begun, failed=failed, held=held, **links)
        send.keep(connection, _run_id(due), to_all(message))
    elif word == BACK:
        message = notices.back(facts.late_since or facts.said_of, facts.published_at, as_of, **links)
        send.keep(connection, _run_id(facts.said_of), to_all(message))
    connection.commit()
    return due, facts


def _look_ahead(connection: Connection, now: datetime, facts: Facts, *, speaks: bool) -> None:
    """Say once that the next promise is at risk, to those who can do something.

    What goes wrong here is logged: that something is late has to be heard all the same.
    """
    try:
        promise.settle(connection, now)
        risk = promise.risk(connection, now, facts.published_at) if speaks else None
        if risk and promise.note(connection, risk, now):
            live = publications.live(connection)
            message = notices.at_risk(
                risk.by,
                risk.why,
                data_as_of=live.data_as_of if live else None,
                url=settings.airflow_url(),
                health_url=settings.health_url("unusual"),
            )
            send.keep(connection, f"at risk {risk.due.isoformat()}", {Audience.ENGINEERS: message})
        connection.commit()
    except Exception:
        if connection.closed:
            raise
        connection.rollback()
        log.exception("Whether the next promise is at risk can't be told.")


def backup_due(connection: Connection, now: datetime, made: Made | None) -> datetime | None:
    """When a backup was due that is not there, the newest being `made`; None where all are, or nobody asks for one.

    Where GREENERY_BACKUP_SCHEDULE is no cron expression, nothing makes any: one a day is due, so that it is heard of.
    """
    with connection.cursor() as cursor:
        cursor.execute("select min(backups_since) from ops.watch")
        [[since]] = cursor.fetchall()
    try:
        due = due_tick(settings.backup_schedule(), now, BACKUP_GRACE, since)
    except ValueError as error:
        log.error("GREENERY_BACKUP_SCHEDULE is no cron expression, so one backup a day is due: %s", error)
        due = due_tick("@daily", now, BACKUP_GRACE, since)
    return due if due and (made is None or made.made_at < due) else None


def _look_at_backups(connection: Connection, now: datetime, made: Made | None, *, speaks: bool) -> bool:
    """Whether a backup is late; that is said once a day, and once more when it is there."""
    due = backup_due(connection, now, made)
    with connection.cursor() as cursor:
        cursor.execute(
            "select kind, run_id from ops.messages where run_id like %s order by message_id desc limit 1",
            (f"{_BACKUP_OF}%",),
        )
        said, of = cursor.fetchone() or (None, "")
    said_of = datetime.fromisoformat(of.removeprefix(_BACKUP_OF)) if of else None
    message = None
    if due and not (said == LATE and said_of.date() >= due.date()):
        message, said_of = notices.backup_late(due, made, health_url=settings.health_url()), due
    elif not due and said == LATE and made and made.made_at >= said_of:
        message = notices.backup_back(made, health_url=settings.health_url())
    if speaks and message:
        send.keep(connection, f"{_BACKUP_OF}{said_of.isoformat()}", {Audience.ENGINEERS: message})
    return due is not None


# The outbox knows what was said of a tick as what a run said.
_OF, _BACKUP_OF = "due ", "backup due "


def _run_id(due: datetime) -> str:
    return f"{_OF}{due.isoformat()}"


def _tick_of(run_id: str) -> datetime:
    return datetime.fromisoformat(run_id.removeprefix(_OF))


def note_schedule(now: datetime) -> None:
    """Note the schedule if it is another one than before; the first one counts since somebody watches.

    Raises ValueError for what is no cron expression.
    """
    if (schedule := settings.schedule()) is not None:
        croniter(schedule)
    with connect("greenery watchdog") as connection, connection.cursor() as cursor:
        cursor.execute(
            """
            insert into ops.schedules (schedule, since)
            select %(schedule)s, case when exists (select from ops.schedules) then %(now)s else min(since) end
            from ops.watch
            having %(schedule)s is distinct from (select schedule from ops.schedules order by schedule_id desc limit 1)
                or not exists (select from ops.schedules)
            """,
            {"schedule": schedule, "now": now},
        )


def known(connection: Connection, now: datetime) -> Facts:
    """What the warehouse knows. A publication that is dated ahead of the clock keeps nothing from being late."""
    with connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
        cursor.execute(
            """
            with said as (
                select message_id, kind, run_id from ops.messages where run_id like %(of)s
            ),

            newest as (
                select kind, run_id from said order by message_id desc limit 1
            ),

            first_late as (
                select run_id
                from said
                where kind = %(late)s
                    and message_id > coalesce((select max(message_id) from said where kind = %(back)s), 0)
                order by message_id
                limit 1
            )

            select
                (
                    select max(published_at) from ops.publications
                    where published_at = data_as_of and published_at <= %(until)s
                ) as published_at,
                (select kind from newest) as said,
                (select run_id from newest) as said_of,
                (select run_id from first_late) as late_since
            """,
            {"of": f"{_OF}%", "late": LATE, "back": BACK, "until": now + PATIENCE},
        )
        [row] = cursor.fetchall()
    return Facts(
        scheduled=_scheduled(connection),
        published_at=row.published_at,
        said=row.said,
        said_of=_tick_of(row.said_of) if row.said_of else None,
        late_since=_tick_of(row.late_since) if row.late_since else None,
    )


def _scheduled(connection: Connection) -> tuple[Scheduled, ...]:
    """The schedules that counted so far; before one is noted, what is set has counted since somebody watches."""
    with connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
        cursor.execute(
            """
            select schedule, since
            from (
                select schedule_id, schedule, since from ops.schedules
                union all
                select 0, %s, min(since) from ops.watch having not exists (select from ops.schedules)
            ) as scheduled
            order by schedule_id
            """,
            (settings.schedule(),),
        )
        return tuple(Scheduled(schedule=row.schedule, since=row.since) for row in cursor.fetchall())


def _begun_since(connection: Connection, due: datetime) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute("select run_id from ops.runs where started_at >= %s order by started_at desc limit 1", (due,))
        row = cursor.fetchone()
    return row[0] if row else None


def _memory() -> Path:
    """Where is kept since when the warehouse is down."""
    return settings.state_dir() / "watchdog" / "warehouse_down.json"


def _is_down(now: datetime, problem: str) -> None:
    """Remember since when, and say it once somebody has waited long enough. The lock keeps two from saying it."""
    path = _memory()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        state = json.loads(file.read() or "null") or {"since": now.isoformat(), "said": False}
        since = datetime.fromisoformat(state["since"])
        try:
            if not state["said"] and now - since >= PATIENCE:
                # How a server is reached is for engineers.
                messages = {
                    Audience.ENGINEERS: notices.down(since, problem, health_url=settings.health_url()),
                    Audience.STAKEHOLDERS: notices.down(since, None, health_url=settings.health_url()),
                }
                state["said"] = send.post(f"warehouse down {state['since']}", messages)
        except (UnavailableError, RefusedError) as trouble:
            log.error("Slack did not take the message: %s", trouble)
        finally:
            file.truncate(0)
            file.write(json.dumps(state))


def _was_up(connection: Connection, now: datetime) -> None:
    """Say that the warehouse is back, if it was said that it is gone."""
    path = _memory()
    try:
        state = json.loads(path.read_text() or "null")
    except FileNotFoundError:
        return
    if state and state["said"]:
        since = datetime.fromisoformat(state["since"])
        message = notices.up(since, now, health_url=settings.health_url())
        send.keep(connection, f"warehouse down {state['since']}", to_all(message))
    path.unlink(missing_ok=True)


if __name__ == "__main__":
    log_to_stderr()
    sys.exit(main())
