"""What usually still comes in: learned from the last publications, by metric and age; the rule needs no database."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from psycopg2.extensions import connection as Connection

from include.receipts import kept_moves, lateness, moves
from include.receipts.lateness import Age
from include.receipts.move import Cause, Move, Part, Period, Side, What
from include.results import publications, runs

A_DAY = timedelta(days=1)


def share(percent: float) -> Decimal:
    return Decimal(str(percent)) / 100


@pytest.mark.parametrize(
    ("learned", "moved", "usual"),
    [
        ([1] * 13, 0.5, False),
        ([1] * 14, 1, True),
        ([1] * 14, 1.01, False),
        ([0] * 13 + [5], 0.1, False),
        ([0] * 8 + [1] * 8 + [9], 1, True),
        ([0] * 8 + [1] * 10 + [9] * 2, 1.5, False),
        ([0] * 8 + [1] * 9 + [9] * 3, 9, True),
        ([0] * 14 + [float("inf")] * 9, 1, False),
        ([0] * 14 + [float("inf")] * 9, float("inf"), True),
    ],
)
def test_usual_is_what_nine_in_ten_publications_did_not_go_beyond(
    learned: list[float], moved: float, usual: bool
) -> None:
    assert lateness.is_usual(share(moved), [share(one) for one in learned]) is usual


@pytest.mark.parametrize(
    ("days", "age"),
    [(0, Age.ONE), (1, Age.ONE), (2, Age.TWO), (3, Age.WEEK), (7, Age.WEEK), (8, Age.MORE), (400, Age.MORE)],
)
def test_an_age_is_counted_in_days(days: int, age: Age) -> None:
    assert lateness.age(date(2026, 11, 29) - days * A_DAY, date(2026, 11, 29)) is age


def test_what_was_not_told_moved_without_bound() -> None:
    assert [lateness.relative(*one) for one in ((None, Decimal(1)), (Decimal(0), Decimal(1)))] == [Decimal("Inf")] * 2
    assert lateness.relative(Decimal(-4), Decimal(-5)) == Decimal("0.25")


def of_day(starts: date, value: float, *what: What, told: float = 100, **others: object) -> moves.Found:
    """A move of revenue whose rows are of one kind, or several."""
    parts = tuple(Part(Side.NUMERATOR, one, "orders", 1, Decimal(1)) for one in what or (What.LATE,))
    move = {"metric": "revenue", "period": Period.DAY, "adds_up": True, "parts": parts, **others}
    return moves.Found(Move(starts=starts, told=Decimal(str(told)), value=Decimal(str(value)), **move))


@pytest.fixture
def learned(db: Connection) -> date:
    """Twenty publishes of revenue, a day each, of which today's is to come: 2 % come in on the day after, every day.

    Of two days before much was corrected, of the week nothing moves but for a cause of ours, and what is older was told
    as 0. Returns today.
    """
    today = datetime.now(UTC).date()
    runs.begin(db, "run", "release")
    with db.cursor() as cursor:
        for ago in range(20, 0, -1):
            at = datetime.now(UTC) - ago * A_DAY
            publication_id, _ = publications.note(cursor, "run", "analytics", as_of=None, decision=None, notes=[])
            cursor.execute(
                "update ops.publications set published_at = %(at)s, data_as_of = %(at)s where publication_id = %(id)s",
                {"at": at, "id": publication_id},
            )
            if ago == 20:
                cursor.execute("insert into ops.told values ('revenue', %s, %s, 1)", (at.date(), publication_id))
                continue
            found = [of_day(at.date() - A_DAY, 102), of_day(at.date() - 20 * A_DAY, 1, told=0)]
            if ago < 4:
                ours = (Cause("model", "model orders changed"),)
                found.append(of_day(at.date() - 5 * A_DAY, 150, causes=ours))
            if ago < 8:
                found.append(of_day(at.date() - 2 * A_DAY, 150, What.LATE, What.CORRECTED))
            kept_moves.keep(cursor, publication_id, found)
    return today


@pytest.mark.db
def test_of_what_came_late_alone_what_is_usual_at_that_age_is_marked(db: Connection, learned: date) -> None:
    yesterday, week = learned - A_DAY, learned - 5 * A_DAY
    usual, other = of_day(yesterday, 101.9), of_day(yesterday, 101.9, metric="orders")
    found = (
        (usual, True),
        (other, False),
        (of_day(yesterday, 102.1), False),
        (of_day(yesterday, 101, What.LATE, What.GONE), False),
        (of_day(yesterday, 101, adds_up=False), False),
        (of_day(yesterday, 101, causes=(Cause("rebuilt", "everything was built anew"),)), False),
        (of_day(week, 101), False),
        (of_day(yesterday - A_DAY, 101), False),
        (of_day(learned - 20 * A_DAY, 1, told=0), False),
    )
    for one, expected in found:
        [marked] = lateness.marked(db, [one])
        assert marked.move.usual is expected, one


@pytest.mark.db
def test_a_month_is_usual_where_its_days_are(db: Connection, learned: date) -> None:
    yesterday = learned - A_DAY
    month = of_day(yesterday.replace(day=1), 3100, told=3000, period=Period.MONTH)
    year = of_day(yesterday.replace(month=1, day=1), 3100, told=3000, period=Period.YEAR)
    usual, unusual = of_day(yesterday, 101), of_day(yesterday, 120)
    assert [one.move.usual for one in lateness.marked(db, (year, month, usual))] == [True] * 3
    assert [one.move.usual for one in lateness.marked(db, (year, month, unusual))] == [False] * 3
    assert [one.move.usual for one in lateness.marked(db, (year, month))] == [False] * 2
