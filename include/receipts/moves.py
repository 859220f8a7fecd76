"""Which closed days, months and years a publish changes, found before it (`kept_moves` keeps them)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import groupby
from time import monotonic

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include.dbt_project.counted import Counted, Measure, counted
from include.dbt_project.manifest import Manifest
from include.receipts import lateness, ours, rows, told
from include.receipts.move import CENT, Found, Move, MovedRow, Period, Side
from include.receipts.rows import Change
from include.settings import BUILT
from include.warehouse import transaction
from include.warehouse.session import limited

# What moved is looked for so long, in seconds, and then the rows behind it: a publish waits no longer for a receipt.
PATIENCE = 10.0
# Where more days moved than this, another history was written: rows say nothing of that.
MOST_DAYS = 100
# So many rows are kept of a move, and of a publish: readers wait meanwhile.
KEPT, KEPT_IN_ALL = 500, 10_000
# So many moves of a publish are kept, for the same reason: the largest periods and the newest days. `ops.told` has all.
MOST_MOVES = 5_000
# A ratio of a month is as exact as those of days in the project's table.
_EXACT = Decimal("0.0001")
_LARGEST_FIRST = (Period.YEAR, Period.MONTH, Period.DAY)
_NOTHING = (Decimal(0), Decimal(0))

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Figure:
    """What a metric tells of a period, and what that is made of."""

    value: Decimal | None
    numerator: Decimal | None
    denominator: Decimal | None


@dataclass(frozen=True)
class _Compared:
    """A figure as it was told and as it is built; `last` is the last day of its period."""

    starts: date
    last: date
    told: _Figure
    now: _Figure

    @property
    def moved(self) -> bool:
        """Whether people would read another number; where there is none it counts as 0."""
        return (self.now.value or 0) != (self.told.value or 0)

    @property
    def higher(self) -> tuple[Decimal, Decimal]:
        """How much higher its numerator and its denominator are now; of one that has none, its value."""
        sides = (
            (self.now.numerator or Decimal(0)) - (self.told.numerator or Decimal(0)),
            (self.now.denominator or Decimal(0)) - (self.told.denominator or Decimal(0)),
        )
        return sides if any(sides) else ((self.now.value or Decimal(0)) - (self.told.value or Decimal(0)), Decimal(0))


@dataclass(frozen=True)
class _Metric:
    """A metric's days before `until`, in their order; `way` is how it is counted by rows, None where nobody knows."""

    name: str
    way: Counted | None
    until: date
    days: list[_Compared] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.way is not None and self.way.running

    @property
    def measures(self) -> tuple[tuple[Side, Measure], ...]:
        """What it is counted from."""
        return tuple(zip(Side, self.way.measures, strict=False)) if self.way else ()


def find(connection: Connection, manifest: Manifest) -> tuple[Found, ...]:
    """What of what was told changes with what is built, if it is published now. Call before the exchange.

    Compares the build schema with what was told last; nothing before the first publication. Only reads. What can't be
    compared costs the receipt: it is logged, and nothing is raised.
    """
    try:
        with transaction(connection) as cursor:
            with limited(cursor, PATIENCE):  # what is compared may be a view
                ways = counted(manifest)
                metrics = _compared(cursor, ways)
            return lateness.marked(connection, _found(connection, manifest, ways, metrics))
    except Exception as error:
        by_postgres = isinstance(error, psycopg2.Error)  # which quotes values
        log.warning(
            "What this publish changes of what was told could not be found: %s",
            type(error).__name__,
            exc_info=not by_postgres,
        )
        return ()


def _compared(cursor: Cursor, ways: Mapping[str, Counted]) -> list[_Metric]:
    """The metrics of which closed days differ, with all days of the years that have such a day.

    Closed is a day that was over when raw was loaded for the last publication, and of which the metric had been told,
    or of a later one. A metric that is no longer built has not moved.
    """
    cursor.execute(
        sql.SQL(
            """
            with closed as (
                select cast(loaded_at at time zone 'UTC' as date) as until
                from ops.publication_loaded_at
                order by publication_id desc
                limit 1
            ),

            now as ({now}),

            former as (
                select metric, day, value, numerator, denominator
                from ops.told
                where newest
            ),

            told_metrics as (
                select metric, least(max(day) + 1, min(closed.until)) as until
                from former
                cross join closed
                where coalesce(value, numerator) is not null
                group by metric
            ),

            compared as (
                select
                    metric, day, told_metrics.until,
                    former.value as former_value, former.numerator as former_numerator,
                    former.denominator as former_denominator,
                    now.value, now.numerator, now.denominator,
                    bool_or(
                        (former.value, former.numerator, former.denominator)
                            is distinct from (now.value, now.numerator, now.denominator)
                    ) over (partition by metric, date_trunc('year', day)) as differs
                from former
                full join now using (metric, day)
                inner join told_metrics using (metric)
                where day < told_metrics.until and metric in (select metric from now)
            )

            select
                metric, day, until, former_value, former_numerator, former_denominator, value, numerator, denominator
            from compared
            where differs
            order by metric, day
            """
        ).format(now=told.metrics_of(cursor.connection, BUILT))
    )
    found: dict[str, _Metric] = {}
    for name, day, until, *numbers in cursor.fetchall():
        metric = found.setdefault(name, _Metric(name, ways.get(name), until))
        metric.days.append(_Compared(day, day, *(_figure(metric.way, *of) for of in (numbers[:3], numbers[3:]))))
    return list(found.values())


def _figure(way: Counted | None, value: Decimal | None, above: Decimal | None, below: Decimal | None) -> _Figure:
    """A metric that is divided by nothing is its own numerator, whether the table says so or not."""
    return _Figure(value, value if way and not way.denominator else above, below)


def _found(
    connection: Connection, manifest: Manifest, ways: Mapping[str, Counted], metrics: Sequence[_Metric]
) -> list[Found]:
    moved = [(metric, period, one) for metric in metrics for period in _LARGEST_FIRST for one in _moved(metric, period)]
    moved.sort(key=lambda each: (_LARGEST_FIRST.index(each[1]), -each[2].starts.toordinal(), each[0].name))
    if len(moved) > MOST_MOVES:
        log.warning("%d figures moved; the largest and newest %d of them are kept.", len(moved), MOST_MOVES)
        del moved[MOST_MOVES:]
    ends = monotonic() + PATIENCE
    metrics = list({metric.name: metric for metric, _, _ in moved}.values())
    changes = _changes(connection, metrics, ends)
    of_ours = ours.causes(connection, manifest, ways)
    causes = {metric.name: of_ours.of(metric.name) for metric in metrics}
    found, left = [], KEPT_IN_ALL
    for metric, period, one in moved:
        behind = _behind(metric, one, changes) if monotonic() < ends else []
        kept = behind[: min(KEPT, left)] if period is Period.DAY else []
        left -= len(kept)
        move = Move(
            metric.name,
            period,
            one.starts,
            one.told.value,
            one.now.value,
            adds_up=bool(behind),
            parts=rows.parts(behind, manifest),
            causes=causes[metric.name],
        )
        found.append(Found(move, tuple(kept)))
    return found


def _moved(metric: _Metric, period: Period) -> Iterator[_Compared]:
    """What moved, of one period. One that runs differs on each day after one that does: the first stands for them."""
    told_already = _NOTHING
    for one in _periods(metric, period):
        if one.higher == _NOTHING:
            told_already = _NOTHING
        elif one.moved and one.higher != told_already:
            told_already = one.higher if metric.running else _NOTHING
            yield one


def _periods(metric: _Metric, period: Period) -> Iterator[_Compared]:
    """The closed ones, in their order. Of what nobody knows how to count, months and years can't be told from days."""
    if period is Period.DAY:
        yield from metric.days
        return
    for starts, group in groupby(metric.days if metric.way else (), lambda one: _start(period, one.starts)):
        of, following = list(group), _start(period, starts + timedelta(days=31 if period is Period.MONTH else 366))
        if following > metric.until:
            continue
        last = following - timedelta(days=1)
        if metric.running:
            yield replace(of[-1], starts=starts, last=last)
        else:
            yield _Compared(starts, last, _sum([one.told for one in of]), _sum([one.now for one in of]))


def _start(period: Period, day: date) -> date:
    return day.replace(day=1) if period is Period.MONTH else day.replace(month=1, day=1)


def _sum(figures: Sequence[_Figure]) -> _Figure:
    above = [one.numerator for one in figures if one.numerator is not None]
    below = [one.denominator for one in figures if one.denominator is not None]
    numerator, denominator = (sum(of, Decimal(0)) if of else None for of in (above, below))
    if numerator is None or denominator is None:
        return _Figure(numerator, numerator, denominator)
    value = (numerator / denominator).quantize(_EXACT, ROUND_HALF_UP) if denominator else None
    return _Figure(value, numerator, denominator)


def _changes(connection: Connection, metrics: Iterable[_Metric], ends: float) -> dict[Measure, list[Change]]:
    """What the measures of metrics count otherwise on their days; a measure that can't be compared is left out."""
    days: dict[Measure, set[date]] = {}
    until: dict[Measure, date] = {}
    for metric in metrics:
        before = _NOTHING
        differ = set()
        for one in metric.days:
            if one.higher != before:
                differ.add(one.starts)
            before = one.higher if metric.running else _NOTHING
        for _, measure in metric.measures:
            days[measure] = days.get(measure, set()) | differ
            until[measure] = max(metric.until, until.get(measure, metric.until))
    found = {}
    for measure, asked in days.items():
        try:
            found[measure] = _of_days(connection, measure, asked, until[measure], ends)
        except (psycopg2.Error, ValueError) as error:
            # What Postgres says of a row is not for a log.
            why = type(error).__name__ if isinstance(error, psycopg2.Error) else error
            log.info("The rows that moved %s of %s are not told: %s", measure.name, measure.relation, why)
    return found


def _of_days(connection: Connection, measure: Measure, days: set[date], until: date, ends: float) -> list[Change]:
    """The changes of days, and of those that their rows moved to or from. Raises ValueError where it is too much."""
    found: dict[str, Change] = {}
    seen: set[date] = set()
    while left := days - seen:
        seen |= left
        if len(seen) > MOST_DAYS:
            raise ValueError(f"not compared, since more than {MOST_DAYS} days moved")
        found |= {one.key: one for one in rows.changes(connection, measure, left, ends - monotonic())}
        days = {day for one in found.values() for day in (one.former_day, one.day) if day and day < until}
    return list(found.values())


def _behind(metric: _Metric, one: _Compared, changes: Mapping[Measure, list[Change]]) -> list[MovedRow]:
    """The rows behind a move; none where they don't make up the difference of each side, as exact as that is told."""
    first = date.min if metric.running else one.starts
    of = []
    for (side, measure), higher in zip(metric.measures, one.higher, strict=False):
        found = rows.behind(changes.get(measure, ()), measure, side, first, one.last)
        amount = sum((row.amount for row in found), Decimal(0))
        if not amount.is_finite() or abs(amount - higher) >= _digit(higher):
            return []
        of += found
    return of


def _digit(number: Decimal) -> Decimal:
    """One in its last digit, a cent at most."""
    return min(Decimal(1).scaleb(number.as_tuple().exponent), CENT)
