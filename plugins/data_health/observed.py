"""What runs observed of the data: the series that are watched, and the days of one with what was usual on each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from include.unusual import expect, find
from include.unusual.series import Expected, Measure, Observation, Series, Unusual
from plugins.data_health.reading import Reading

# A series of which nothing was observed for longer is watched no more.
FORGOTTEN_AFTER = timedelta(days=7)


@dataclass(frozen=True)
class Watched:
    """A series that is watched: since which UTC day, the newest day with an observation, and that one's value.

    `days` counts its days with a value, up to as many as were asked for.
    """

    series: Series
    since: date
    day: date
    value: float | None
    days: int


_COLUMNS = "unique_id, measure, column_name, item"
# The newest observation of each series, and with two looks at the primary key what it begins with.
_WATCHED = f"""
with newest as (
    select distinct on ({_COLUMNS}) {_COLUMNS}, day, value
    from ops.observations
    where day > (select max(day) from ops.observations) - %(forgotten_after)s and measure = any(%(measures)s)
    order by {_COLUMNS}, day desc
)

select newest.*, first.day as since, known.days
from newest
cross join lateral (
    select min(day) as day
    from ops.observations as all_of_it
    where (all_of_it.unique_id, all_of_it.column_name, all_of_it.measure, all_of_it.item)
        = (newest.unique_id, newest.column_name, newest.measure, newest.item)
) as first
cross join lateral (
    select count(value) as days
    from (
        select value
        from ops.observations as all_of_it
        where (all_of_it.unique_id, all_of_it.column_name, all_of_it.measure, all_of_it.item)
            = (newest.unique_id, newest.column_name, newest.measure, newest.item)
        limit %(enough)s
    ) as of_it
) as known
"""  # noqa: S608 - constants


def watched(reading: Reading, enough: int) -> tuple[Watched, ...]:
    """All series that are watched. Of their days with a value at most so many are counted."""
    parameters = {"forgotten_after": FORGOTTEN_AFTER.days, "measures": list(Measure), "enough": enough}
    return tuple(
        Watched(
            Series(row.unique_id, Measure(row.measure), row.column_name, row.item),
            row.since,
            row.day,
            row.value,
            row.days,
        )
        for row in reading.rows(_WATCHED, parameters)
    )


def newest_run(reading: Reading) -> str | None:
    """The run that observed last; None before there is any."""
    rows = reading.rows(
        """
        select run_id
        from ops.observations
        where day = (select max(day) from ops.observations)
        order by observed_at desc
        limit 1
        """
    )
    return rows[0].run_id if rows else None


def values(reading: Reading, series: Series, since: date | None = None) -> tuple[Observation, ...]:
    """What was observed of a series, from a UTC day on or ever, the first day first."""
    rows = reading.rows(
        """
        select day, value, afterwards
        from ops.observations
        where unique_id = %(unique_id)s
            and column_name = %(column)s
            and measure = %(measure)s
            and item = %(item)s
            and day >= %(since)s
        order by day
        """,
        {**vars(series), "since": since or date.min},
    )
    return tuple(Observation(series, row.day, row.value, row.afterwards) for row in rows)


def rows_by_day(reading: Reading, unique_id: str) -> dict[date, float]:
    """How many rows a table or model had, by UTC day."""
    rows = values(reading, Series(unique_id, Measure.ROWS))
    return {one.day: one.value for one in rows if one.value is not None}


def count(reading: Reading) -> int:
    """How many series the newest day has."""
    [row] = reading.rows("select count(*) from ops.observations where day = (select max(day) from ops.observations)")
    return row.count


def bands(
    observations: tuple[Observation, ...],
    first: date,
    told: tuple[Unusual, ...],
    fine: Collection[date],
    series_watched: int,
    rows: Mapping[date, float],
) -> dict[date, Expected]:
    """What was usual on each day from one on, as it is judged; not of days with too little before. See `find.usual`."""
    found = {}
    for number, one in enumerate(observations):
        if one.day >= first:
            known = observations[max(0, number - expect.LONGEST) : number + 1]
            usual = _usual(
                one.series,
                tuple((each.day, each.value, each.afterwards) for each in known),
                tuple(each for each in told if each.day < one.day),
                frozenset(day for day in fine if day < one.day),
                series_watched,
                rows.get(one.day),
            )
            if usual:
                found[one.day] = usual
    return found


@lru_cache(maxsize=8192)
def _usual(
    series: Series,
    values: tuple[tuple[date, float | None, bool], ...],
    told: tuple[Unusual, ...],
    fine: frozenset[date],
    series_watched: int,
    rows: float | None,
) -> Expected | None:
    """What was usual on the last day. That takes a millisecond or two, and the past does not change: it is kept."""
    observations = [Observation(series, *one) for one in values]
    of_day = {} if rows is None else {observations[-1].day: rows}
    return find.usual(observations, told, fine, series_watched, of_day)


def speaks_from(day: date, days: int) -> date | None:
    """From when a series is judged that has so many days with a value, `day` the newest; None where it is already."""
    missing = expect.LEAST_DAYS - days
    return day + timedelta(days=missing + 1) if missing > 0 else None
