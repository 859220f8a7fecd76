"""`ops.answers`: what people answered, what of it is in force, and how it ended. Rows are only added."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include.answers.answer import About, Answer, Kind

# People read a reason in a line of a message.
LONGEST_REASON, LONGEST_NAME, LONGEST_LOGIN, LONGEST_ID = 300, 80, 200, 1000
# A mute is looked at again after a quarter: what is silent for longer belongs into the project.
LONGEST_MUTE = timedelta(days=92)


class AnswerError(ValueError):
    """Nothing was kept; the message says what is missing or wrong, and what to do."""


@dataclass(frozen=True)
class End:
    """How an answer ended before its day: who ended it, when, and why."""

    ended_at: datetime
    ended_by: str
    reason: str


@dataclass(frozen=True)
class Kept:
    """An answer with its end; None where nobody, and nothing, has ended it."""

    answer: Answer
    end: End | None = None

    def is_in_force(self, at: date) -> bool:
        """Whether it counts on a UTC day."""
        return self.end is None and (self.answer.until is None or self.answer.until >= at)


_COLUMNS = """
    given.answer_id, given.answered_at, given.answered_by, given.kind, given.reason, given.until, given.waives,
    given.name_given, given.unique_id, given.measure, given.column_name, given.item, given.day
"""
_ENDED = "select from ops.answers as ending where ending.ends = given.answer_id"


def give(
    connection: Connection,
    kind: Kind,
    about: About,
    login: str,
    reason: str,
    until: date | None = None,
    waives: bool = False,
    name: str = "",
) -> Answer:
    """Keep an answer, in the caller's transaction. Raises AnswerError.

    `login` is one that somebody has checked: Airflow, or `warehouse.login.at_a_shell`. `name` is what they typed.
    Whether the thing is there, and whether they may answer, is the caller's to ask.
    """
    texts = _checked(
        {"login": (login, LONGEST_LOGIN), "reason": (reason, LONGEST_REASON), "name": (name, LONGEST_NAME)}
    )
    if problem := _problem(kind, about, until, waives):
        raise AnswerError(problem)
    row = {
        "answered_by": texts["login"],
        "name_given": texts["name"],
        "kind": kind,
        "unique_id": about.unique_id,
        "column_name": about.column,
        "measure": about.measure,
        "item": about.item,
        "day": about.day,
        "until": until,
        "reason": texts["reason"],
        **({"waives": True} if waives else {}),  # the page's role may not name the column
    }
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            insert into ops.answers as given ({", ".join(row)}) values ({", ".join(["%s"] * len(row))})
            returning {_COLUMNS}
            """,  # noqa: S608 - constants
            tuple(row.values()),
        )
        return _answer(cursor.fetchone())


def end(connection: Connection, answer_id: int, login: str, reason: str) -> Answer:
    """End an answer that is in force, in the caller's transaction; returns it. Raises AnswerError."""
    texts = _checked({"login": (login, LONGEST_LOGIN), "reason": (reason, LONGEST_REASON)})
    kept = find(connection, answer_id)
    if kept is None or not kept.is_in_force(datetime.now(UTC).date()):
        what = "has ended already" if kept else "is not there"
        raise AnswerError(
            f"Answer {answer_id} {what}, so nothing was changed. The list of answers says what is in force."
        )
    with connection.cursor() as cursor:
        cursor.execute(
            "insert into ops.answers (answered_by, kind, unique_id, reason, ends) values (%s, 'end', %s, %s, %s)",
            (texts["login"], kept.answer.about.unique_id, texts["reason"], answer_id),
        )
    return kept.answer


def in_force(connection: Connection, at: date) -> tuple[Answer, ...]:
    """What counts on a UTC day, the newest first: not ended, and its last day not passed.

    What somebody sees to (`mine`) ends with the report of a later run in which it was well.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            select {_COLUMNS}
            from ops.answers as given
            where kind <> 'end' and (until is null or until >= %s) and not exists ({_ENDED})
            order by answer_id desc
            """,  # noqa: S608 - constants
            (at,),
        )
        return tuple(map(_answer, cursor.fetchall()))


def kept(connection: Connection, limit: int = 500) -> tuple[Kept, ...]:
    """The newest answers with how they ended, the newest first; then what older ones still mute or see to."""
    with connection.cursor() as cursor:
        newest = _read(cursor, "true", limit)
    if len(newest) < limit:
        return newest
    given = in_force(connection, datetime.now(UTC).date())
    oldest = newest[-1].answer.answer_id
    return (*newest, *(Kept(one) for one in given if one.answer_id < oldest and one.kind != Kind.EXPECTED))


def find(connection: Connection, answer_id: int) -> Kept | None:
    """An answer by its number; None where there is none."""
    if not 0 < answer_id < 2**63:
        return None
    with connection.cursor() as cursor:
        return next(iter(_read(cursor, "given.answer_id = %s", 1, answer_id)), None)


def passed_since(connection: Connection, since: date, at: date) -> tuple[Answer, ...]:
    """Mutes whose last day was `since` or later, and is over on the day `at`; not those that somebody ended."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            select {_COLUMNS}
            from ops.answers as given
            where kind = 'mute' and until >= %s and until < %s and not exists ({_ENDED})
            order by answer_id desc
            """,  # noqa: S608 - constants
            (since, at),
        )
        return tuple(map(_answer, cursor.fetchall()))


def waived(connection: Connection) -> frozenset[str]:
    """The unique ids of tests that somebody lets through today: they hold no publish. A newer mute takes that back."""
    given = in_force(connection, datetime.now(UTC).date())
    tests = {one.about.unique_id for one in given if one.waives and one.about.unique_id.startswith("test.")}
    return frozenset(test for test in tests if (mute := of(given, Kind.MUTE, test)) and mute.waives)


def is_about(answer: Answer, series: About) -> bool:
    """Whether an answer is about a series, or about all of what it is of. What an answer leaves open, it is all of."""
    about = answer.about
    asked = ((about.measure, series.measure), (about.column, series.column), (about.item, series.item))
    return about.unique_id == series.unique_id and all(said in ("", one) for said, one in asked)


def of(answers: Iterable[Answer], kind: Kind, unique_id: str, tested: Iterable[str] = ()) -> Answer | None:
    """The newest answer of a kind to a test, or to what it is on; None where there is none.

    `tested` is what a test is on. Of several things, all have to be answered: what is said of one is not of the others.
    """
    whole = [one for one in answers if one.kind == kind and not (one.about.measure or one.about.column)]
    by_id = {one.about.unique_id: one for one in reversed(whole)}  # the newest comes first, and stays
    on = [by_id.get(one) for one in tested]
    return by_id.get(unique_id) or (on[0] if on and all(on) else None)


def _read(cursor: Cursor, condition: str, limit: int, *parameters: object) -> tuple[Kept, ...]:
    cursor.execute(
        f"""
        select {_COLUMNS}, ending.answered_at, ending.answered_by, ending.reason
        from ops.answers as given
        left join lateral (
            select answered_at, answered_by, reason
            from ops.answers
            where ends = given.answer_id
            order by answer_id
            limit 1
        ) as ending on true
        where given.kind <> 'end' and {condition}
        order by given.answer_id desc
        limit %s
        """,  # noqa: S608 - constants
        (*parameters, limit),
    )
    return tuple(Kept(_answer(row[:-3]), End(*row[-3:]) if row[-3] else None) for row in cursor.fetchall())


def _answer(row: tuple) -> Answer:
    answer_id, answered_at, answered_by, kind, reason, until, waives, name, *about = row
    return Answer(answer_id, answered_at, answered_by, Kind(kind), About(*about), reason, until, waives, name)


def _checked(texts: dict[str, tuple[str, int]]) -> dict[str, str]:
    """The texts without space around them. Raises AnswerError for one that can't be kept."""
    for what, (text, longest) in texts.items():
        if "\x00" in text:
            raise AnswerError(f"The {what} has a null character, which Postgres does not take. Type it anew.")
        if len(text) > longest:
            raise AnswerError(f"The {what} has {len(text):,} characters; {longest} is the most. Say it in fewer words.")
        if not text.strip() and what != "name":
            raise AnswerError(f"An answer takes a {what}: people read it in the message and on the page.")
    return {what: text.strip() for what, (text, _) in texts.items()}


def _problem(kind: Kind, about: About, until: date | None, waives: bool) -> str | None:
    today = datetime.now(UTC).date()
    named = (about.unique_id, about.measure, about.column, about.item)
    if any("\x00" in text or len(text) > LONGEST_ID for text in named) or not about.unique_id:
        return "What it is about can't be kept: it is empty, too long, or has a null character. Follow the link again."
    if kind == Kind.MUTE and until is None:
        return "A mute takes its last day: it ends by itself."
    if until and until < today:
        return f"Its last day, {until}, is in the past. Today is {today} (UTC)."
    if until and until > today + LONGEST_MUTE:
        return f"Its last day, {until}, is too far away: {today + LONGEST_MUTE} is the last that it takes."
    if kind == Kind.EXPECTED and about.unique_id.startswith(("test.", "freshness.")):
        return (
            "Expected is an answer to an unusual figure. A test says what is right: change it, or mute it until a day."
        )
    if kind == Kind.EXPECTED and about.day is None:
        return "Expected is an answer to what was unusual on a day: name the day. To hear less of all days, mute it."
    if waives and kind != Kind.MUTE:
        return "Only a mute can let a failed test through."
    if waives and not (about.unique_id.startswith("test.") or about.measure):
        return "Only a single test, or a single series, can be let through: name it."
    return None
