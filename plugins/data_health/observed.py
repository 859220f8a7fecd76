"""What runs observed of the data: the series that are watched, since when, and their values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from include.results.unusual import is_personal
from include.unusual import expect, words
from include.unusual.series import LASTING, Measure, Observation, Series
from plugins.data_health.reading import Reading

# A series of which nothing was observed for longer is watched no more.
FORGOTTEN_AFTER = timedelta(days=7)


@dataclass(frozen=True)
class Watched:
    """A series that is watched since a UTC day; `said` is its value on its newest `day`, in words.

    `speaks_from` is the day from which it is judged, None where it is already.
    """

    series: Series
    title: str
    since: date
    day: date
    said: str
    speaks_from: date | None


_COLUMNS = "unique_id, measure, column_name, item"
# The newest observation of each series, and with two looks at the primary key what it begins with.
_WATCHED = f"""
with newest as (
    select distinct on ({_COLUMNS}) {_COLUMNS}, day, value, afterwards
    from ops.observations
    where day > (select max(day) from ops.observations) - %(forgotten_after)s
        and measure = any(%(measures)s)
        and unique_id = coalesce(%(unique_id)s, unique_id)
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
    select count(*) as days
    from (
        select
        from ops.observations as all_of_it
        where (all_of_it.unique_id, all_of_it.column_name, all_of_it.measure, all_of_it.item)
            = (newest.unique_id, newest.column_name, newest.measure, newest.item)
            -- Others are not compared with it.
            and (all_of_it.measure = any(%(lasting)s) or all_of_it.afterwards = newest.afterwards)
            and value is not null
        limit %(enough)s
    ) as of_it
) as known
"""  # noqa: S608 - constants


def watched(reading: Reading, unique_id: str | None = None) -> tuple[Watched, ...]:
    """All series that are watched, or those of one table, model or metric; not those with personal values."""
    parameters = {
        "forgotten_after": FORGOTTEN_AFTER.days,
        "measures": list(Measure),
        "lasting": list(LASTING),
        "unique_id": unique_id,
        "enough": expect.LEAST_DAYS,
    }
    found = []
    for row in reading.rows(_WATCHED, parameters):
        series = Series(row.unique_id, Measure(row.measure), row.column_name, row.item)
        if not is_personal(series, reading.facts):
            title, said = words.title(series, reading.facts), words.value(row.value, series, reading.facts)
            found.append(Watched(series, title, row.since, row.day, said, speaks_from(row.day, row.days)))
    return tuple(sorted(found, key=lambda one: one.series))


def newest_run(reading: Reading) -> str | None:
    """The run that observed last; None before there is any."""
    rows = reading.rows(
        """
        select run_id
        from ops.observations
        join ops.runs using (run_id)
        where day = (select max(day) from ops.observations)
        order by observed_at desc, started_at desc
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


def speaks_from(day: date, days: int) -> date | None:
    """From when a series is judged that has so many days with a value, `day` the newest; None where it is already."""
    missing = expect.LEAST_DAYS - days
    return day + timedelta(days=missing + 1) if missing > 0 else None
