"""How much usually still comes in, learned from the moves of the last publications: that is counted and not told."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date
from decimal import Decimal
from enum import StrEnum

from psycopg2.extensions import connection as Connection

from include.receipts.move import Found, Move, Period, What

# So many publications it is learned from, and of fewer nothing: two weeks have every weekday twice.
_PUBLICATIONS, _AT_LEAST = 60, 14
_USUAL_SHARE = 0.9


class Age(StrEnum):
    """How many days after a day a publish tells of it."""

    ONE = "1"
    TWO = "2"
    WEEK = "3 to 7"
    MORE = "more"


def age(day: date, published_on: date) -> Age:
    """Of a figure's day when it was published."""
    days = (published_on - day).days
    return Age.ONE if days <= 1 else Age.TWO if days == 2 else Age.WEEK if days <= 7 else Age.MORE


def relative(told: Decimal | None, value: Decimal | None) -> Decimal:
    """By what share a figure moved; infinite where nothing was told, or 0."""
    return abs((value or Decimal(0)) - told) / abs(told) if told else Decimal("Infinity")


def is_usual(moved: Decimal, learned: Sequence[Decimal]) -> bool:
    """Whether a figure moved by no more than it did in nine of ten publications.

    Never where these are too few. A figure of which something was told is measured by such figures alone: days of
    which nothing was would let it move by any share.
    """
    if moved.is_finite():
        learned = [one for one in learned if one.is_finite()]
    if len(learned) < _AT_LEAST:
        return False
    return moved <= sorted(learned)[math.ceil(_USUAL_SHARE * len(learned)) - 1]


def marked(connection: Connection, found: Iterable[Found]) -> tuple[Found, ...]:
    """The same, with `usual` set: of days on which rows came late alone, no more than usual, and of months of such."""
    found = tuple(found)
    with connection.cursor() as cursor:
        cursor.execute("select cast(clock_timestamp() at time zone 'UTC' as date)")  # the clock that dates a publish
        (today,) = cursor.fetchone()
    learned = _learned(connection, {one.move.metric for one in found})
    usual: dict[str, dict[date, bool]] = defaultdict(dict)
    for move in (one.move for one in found if one.move.period is Period.DAY):
        of_that_age = learned.get((move.metric, age(move.starts, today)), ())
        usual[move.metric][move.starts] = _came_late_alone(move) and is_usual(
            relative(move.told, move.value), of_that_age
        )
    return tuple(
        replace(one, move=replace(one.move, usual=_all_usual(one.move, usual[one.move.metric], learned)))
        for one in found
    )


def _came_late_alone(move: Move) -> bool:
    """Never of what was told as 0: of that, a single order and a whole day's are the same share."""
    return move.explained and not move.causes and move.told != 0 and all(one.what is What.LATE for one in move.parts)


def _all_usual(move: Move, usual: Mapping[date, bool], learned: Mapping[tuple[str, Age], Sequence[Decimal]]) -> bool:
    """Of a day by itself, of a month or year by the metric's days that moved; of one that runs on, by those before.

    A ratio can move in a month of which no day does: that is usual where it would be so of the day before yesterday.
    """
    if move.period is Period.DAY:
        return usual[move.starts]
    starts = {"day": 1} if move.period is Period.MONTH else {"month": 1, "day": 1}
    within = [is_so for day, is_so in usual.items() if day.replace(**starts) == move.starts]
    days = within or [is_so for day, is_so in usual.items() if day < move.starts]
    if not days:
        return _came_late_alone(move) and is_usual(
            relative(move.told, move.value), learned.get((move.metric, Age.TWO), ())
        )
    return all(days)


def _learned(connection: Connection, names: set[str]) -> dict[tuple[str, Age], list[Decimal]]:
    """By metric and age, the most that came late alone in each of the last publications that could move it, or 0.

    What was put back by hand, what was corrected, and what moved with a cause of ours, is no lateness.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select asked.metric, made.publication_id, made.published_at
            from unnest(%s::text[]) as asked (metric)
            cross join lateral (
                select min(publication_id) as publication_id from ops.told where told.metric = asked.metric
            ) as first
            cross join lateral (
                select publication_id, published_at
                from ops.publications
                where publications.publication_id > first.publication_id and published_at = data_as_of
                order by publication_id desc
                limit %s
            ) as made
            """,
            (sorted(names), _PUBLICATIONS),
        )
        published = {(metric, one): at.astimezone(UTC).date() for metric, one, at in cursor.fetchall()}
        cursor.execute(
            "select metric, publication_id, starts, told, value from ops.moves"
            " where period = 'day' and metric = any(%s) and publication_id = any(%s)"
            """ and adds_up and causes = '[]' and not parts @? '$[*] ? (@.what != "late")'""",
            (sorted(names), sorted({one for _, one in published})),
        )
        moved = cursor.fetchall()
    largest = {one: dict.fromkeys(Age, Decimal(0)) for one in published}
    for metric, publication_id, day, told, value in moved:
        if one := published.get((metric, publication_id)):
            of_it, then = largest[metric, publication_id], age(day, one)
            of_it[then] = max(of_it[then], relative(told, value))
    learned = defaultdict(list)
    for (metric, _), by_age in largest.items():
        for then, most in by_age.items():
            learned[metric, then].append(most)
    return learned
