"""What each run observes of the data that it is about to publish: `ops.observations`.

Of each day only what was there on the day after: an order's status changes for days, and observations are compared with
observations of the same age. Days on which no run came so far are caught up, a week at most; these, and what is known
at once of the days before anything was observed, are marked as observed `afterwards`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from time import monotonic

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import execute_values

from include import settings
from include.dbt_project import metrics
from include.dbt_project.manifest import Manifest
from include.dbt_project.watched import holding, is_watched, may_hold
from include.settings import BUILT, OUR_SCHEMAS
from include.unusual import rows
from include.unusual.rows import Known, Table
from include.unusual.series import LASTING, Measure, Observation, Series
from include.warehouse import connect, transaction
from include.warehouse.session import limited

# Of missed days, and of those before anything was observed, so many are caught up.
CAUGHT_UP, PAST = 7, 120
# A value that was not there for so long is new again.
_REMEMBERED = timedelta(days=120)
# Larger tables and models are not counted as a whole; what is dated in them is.
_COUNTED = 500_000
# So many seconds may each statement take, and all of them: a publish waits for it.
_PATIENCE, _PATIENCE_IN_ALL = 60.0, 300.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NotSeen:
    """What could not be observed, by dbt's id, and why. `holds` where its owner wants no publish that is unusual."""

    unique_id: str
    why: str
    holds: bool = False


def of_run(run_id: str, facts: Manifest, begun: datetime | None) -> tuple[NotSeen, ...]:
    """Observe what a run is about to publish, as of the last load before it began to build.

    Never raises, since it must not cost a publish: what could not be observed is logged and returned.
    """
    try:
        with connect("greenery observe") as connection:
            with connection.cursor() as cursor:
                as_of = last_load(cursor, begun or datetime.now(UTC))
            return observe(connection, run_id, facts, as_of)
    except Exception as error:
        log.exception("Nothing could be observed.")
        return (nothing(facts, error),)


def nothing(facts: Manifest, error: Exception) -> NotSeen:
    """That nothing could be looked at, and why."""
    return NotSeen("", _line(error), bool(holding(facts)))


def observe(connection: Connection, run_id: str, facts: Manifest, as_of: datetime) -> tuple[NotSeen, ...]:
    """Measure what is about to be published, as it was loaded `as_of`, and keep it; returns what could not be measured.

    The day is the UTC day that had closed by then. A second run on a day replaces what the first one said; but what
    changes as rows age stays as it was in the morning if that was published and all of it was usual.
    """
    day = as_of.astimezone(UTC).date() - timedelta(days=1)
    until = monotonic() + _PATIENCE_IN_ALL
    with transaction(connection) as cursor, limited(cursor, _PATIENCE):
        missed = _missed(cursor, day)
        span = (min(missed), day)
        watched = tables(facts, settings.raw_schema())
        past = (day - timedelta(days=PAST), span[0] - timedelta(days=1))
        parts = [*_parts(facts, watched, span, BUILT), *_parts_of_past(cursor, facts, past, watched)]
        known = _known(cursor, span[0])
        found = [*_of_run(cursor, facts, run_id, day, as_of, watched)]
        not_seen: dict[str, NotSeen] = {}
        for unique_id, part in parts:
            try:
                with transaction(connection) as one:
                    _be_patient(one, until)
                    found += [*part(one, known.setdefault(unique_id, {}))]
            except (psycopg2.Error, ValueError) as error:
                log.warning("%s could not be observed: %s", facts.title(unique_id), error)
                why = f"{facts.title(unique_id)}: {_line(error)}"
                not_seen[unique_id] = NotSeen(unique_id, why, may_hold(facts, unique_id))
        _be_patient(cursor, monotonic() + _PATIENCE)
        _keep(cursor, run_id, as_of, missed, [one for one in found if one.day in missed or one.day < span[0]])
    return tuple(not_seen.values())


def _be_patient(cursor: Cursor, until: float) -> None:
    """Let a statement take its time, and none beyond the end of it. Raises ValueError where nothing is left."""
    left = min(_PATIENCE, until - monotonic())
    if left <= 0:
        raise ValueError(f"no time was left for it: all that is observed may take {_PATIENCE_IN_ALL:.0f} seconds")
    cursor.execute("set local statement_timeout = %s", (f"{max(1, int(left * 1000))}ms",))


def measured(
    cursor: Cursor, facts: Manifest, days: tuple[date, date], *, raw: str | None = None, marts: str = BUILT
) -> Iterator[Observation]:
    """What can be observed of UTC days, from the first to the last, in a schema of raw tables and one of marts.

    What has no day, as the rows of a model, is of the last one. Times of a run's own are not among it.
    """
    for _, part in _parts(facts, tables(facts, raw or settings.raw_schema()), days, marts):
        yield from part(cursor, {})


def history(connection: Connection, until: date, days: int) -> dict[Series, list[Observation]]:
    """What was observed of so many UTC days up to one, oldest first, by series."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select unique_id, measure, column_name, item, day, value, afterwards
            from ops.observations
            where day > %(until)s::date - %(days)s and day <= %(until)s
            order by day
            """,
            {"until": until, "days": days},
        )
        found: dict[Series, list[Observation]] = {}
        for unique_id, measure, column, item, day, value, afterwards in cursor:
            series = Series(unique_id, Measure(measure), column, item)
            found.setdefault(series, []).append(Observation(series, day, value, afterwards))
    return found


def forget(connection: Connection, older_than: timedelta) -> int:
    """Delete observations of days from before then, and what was unusual of them; returns how many observations."""
    with connection.cursor() as cursor:
        cursor.execute("delete from ops.unusual where day < (now() - %s)::date", (older_than,))
        cursor.execute("delete from ops.observations where day < (now() - %s)::date", (older_than,))
        return cursor.rowcount


# What measures a source's table or a model, by dbt's id of it: each can fail alone.
_Part = tuple[str, Callable[[Cursor, Known], Iterable[Observation]]]


def _parts(facts: Manifest, watched: list[Table], days: tuple[date, date], marts: str) -> list[_Part]:
    """What there is of days."""
    parts: list[_Part] = []
    for table in watched:
        measure = partial(_by_day, table, days) if table.dated_by else partial(_as_a_whole, table, days[1])
        parts.append((table.unique_id, measure))
    for model in sorted(facts.models):
        if facts.nodes[model]["schema"] == BUILT and is_watched(facts, model):
            mart = Table(model, marts, facts.relations[model])
            parts.append((model, partial(_as_a_whole, mart, days[1])))
    if daily := _daily(facts):
        parts.append((daily, partial(_metrics, facts, Table(daily, marts, facts.relations[daily]), days)))
    return parts


def tables(facts: Manifest, raw: str) -> list[Table]:
    """The tables that are watched, those of the raw schema in another one that has tables of these names."""
    keys = _keys(facts)
    return [
        Table(
            unique_id,
            raw if source["schema"] == settings.raw_schema() else source["schema"],
            source.get("identifier") or source["name"],
            source.get("config", {}).get("event_time") or "",
            facts.personal_columns | {column for of, column in keys if of == unique_id},
            frozenset(name for name in source.get("columns", {}) if not is_watched(facts, unique_id, name)),
        )
        for unique_id, source in facts.sources.items()
        if source["schema"] not in OUR_SCHEMAS and is_watched(facts, unique_id)
    ]


def _keys(facts: Manifest) -> set[tuple[str, str]]:
    """Columns of sources that name a row, theirs or another's, as tests and names say: no value of them says much."""
    keys = {
        (unique_id, name)
        for unique_id, source in facts.sources.items()
        for name in source.get("columns", {})
        if name == "id" or name.endswith("_id")
    }
    for test in facts.data_tests:
        node = facts.nodes[test.unique_id]
        if (node.get("test_metadata") or {}).get("name") in ("unique", "relationships"):
            keys |= {(one, node.get("column_name") or "") for one in facts.tested(test.unique_id)}
    return keys


def _by_day(table: Table, days: tuple[date, date], cursor: Cursor, known: Known) -> Iterable[Observation]:
    return rows.by_day(cursor, table, days, known) if _is_there(cursor, table) else ()


def _as_a_whole(table: Table, day: date, cursor: Cursor, _known: Known) -> Iterator[Observation]:
    if (there := rows.count(cursor, table, _COUNTED)) is not None:
        yield Observation(Series(table.unique_id, Measure.ROWS), day, float(there))


def _daily(facts: Manifest) -> str | None:
    """The model that tells metrics by day, if the project has one that is published."""
    model = metrics.model(facts)
    return model if model and facts.nodes[model]["schema"] == BUILT else None


def _metrics(
    facts: Manifest, daily: Table, days: tuple[date, date], cursor: Cursor, _known: Known
) -> Iterator[Observation]:
    """The metrics of days, each by dbt's id; one that dbt has no metric for is an item of the model."""
    if not {"metric", "day", "value"} <= rows.columns(cursor, daily).keys():
        return
    cursor.execute(
        sql.SQL("select metric::text, day::date, value::numeric from {} where day between {} and {}").format(
            daily.place, *map(sql.Literal, days)
        )
    )
    by_name = {metric["name"]: unique_id for unique_id, metric in facts.metrics.items()}
    for name, day, value in cursor.fetchall():
        unique_id = by_name.get(name, daily.unique_id)
        if is_watched(facts, unique_id):
            item = "" if name in by_name else name
            yield Observation(Series(unique_id, Measure.VALUE, item=item), day, rows.number(value))


def _of_run(
    cursor: Cursor, facts: Manifest, run_id: str, day: date, as_of: datetime, watched: list[Table]
) -> Iterator[Observation]:
    """What there is of the run itself: when each table was loaded first, and how long each model took.

    First, since with a load each hour the last one is earlier in the morning than it was yesterday in the end.
    """
    if loads := _loads(cursor):
        midnight = datetime.combine(day + timedelta(days=1), time(), UTC)
        cursor.execute(
            sql.SQL(
                "select table_name, min(loaded_at) from {} where loaded_at >= %s and loaded_at <= %s group by 1"
            ).format(loads),
            (midnight, as_of),
        )
        loaded = dict(cursor.fetchall())
        for table in watched:
            if table.schema == settings.raw_schema() and (loaded_at := loaded.get(table.name)):
                hours = (loaded_at - midnight).total_seconds() / 3600
                yield Observation(Series(table.unique_id, Measure.LOADED), day, hours)
    cursor.execute(
        "select unique_id, seconds from ops.last_words"
        " where run_id = %s and resource_type = 'model' and status = 'success'",
        (run_id,),
    )
    for unique_id, seconds in cursor.fetchall():
        if unique_id in facts.models and is_watched(facts, unique_id):
            yield Observation(Series(unique_id, Measure.SECONDS), day, rows.number(seconds))


def _parts_of_past(cursor: Cursor, facts: Manifest, days: tuple[date, date], watched: list[Table]) -> list[_Part]:
    """What is known at once of the days before, where nothing was ever observed: rows by their dates, and metrics."""
    daily = _daily(facts)
    cursor.execute(
        """
        select unique_id from unnest(%s::text[]) as watched (unique_id)
        where not exists (select from ops.observations where observations.unique_id = watched.unique_id)
        """,
        ([*(table.unique_id for table in watched if table.dated_by), *facts.metrics, *([daily] if daily else [])],),
    )
    new = {unique_id for (unique_id,) in cursor.fetchall()}
    parts: list[_Part] = [
        (table.unique_id, partial(_past_rows, table, days)) for table in watched if table.unique_id in new
    ]
    if daily:
        place = Table(daily, BUILT, facts.relations[daily])
        parts.append((daily, partial(_past_metrics, facts, place, days, new)))
    return parts


def _past_rows(table: Table, days: tuple[date, date], cursor: Cursor, _known: Known) -> Iterable[Observation]:
    return rows.count_by_day(cursor, table, days) if _is_there(cursor, table) else ()


def _past_metrics(
    facts: Manifest, daily: Table, days: tuple[date, date], new: set[str], cursor: Cursor, known: Known
) -> list[Observation]:
    found = _metrics(facts, daily, days, cursor, known) if not new.isdisjoint({daily.unique_id, *facts.metrics}) else ()
    return [one for one in found if one.series.unique_id in new]


def _is_there(cursor: Cursor, table: Table) -> bool:
    """A test of the sources says it where it is not."""
    return bool(rows.columns(cursor, table))


def last_load(cursor: Cursor, begun: datetime) -> datetime:
    """When the last load came before a run began; that moment itself where nobody notes loads."""
    if not (loads := _loads(cursor)):
        return begun
    cursor.execute(
        sql.SQL("select coalesce(max(loaded_at), {begun}) from {loads} where loaded_at <= {begun}").format(
            begun=sql.Literal(begun), loads=loads
        )
    )
    return cursor.fetchone()[0]


def _loads(cursor: Cursor) -> sql.Identifier | None:
    """Where loaders note their loads, if they do."""
    loads = Table("", settings.raw_schema(), "loads")
    return loads.place if {"table_name", "loaded_at"} <= rows.columns(cursor, loads).keys() else None


def _missed(cursor: Cursor, day: date) -> list[date]:
    """The day, and those of the week before on the morning after which nothing was observed."""
    cursor.execute(
        """
        select given::date
        from generate_series(%(day)s::date - %(more)s, %(day)s::date, '1 day') as given
        where not exists (
            select from ops.observations
            where day = given::date and observed_at < (%(day)s::date + 1)::timestamp at time zone 'UTC'
        )
        """,
        {"day": day, "more": CAUGHT_UP - 1},
    )
    return [one for (one,) in cursor.fetchall()]


def _known(cursor: Cursor, before: date) -> dict[str, Known]:
    """The values of small sets that were there not long before a day."""
    cursor.execute(
        """
        select distinct unique_id, column_name, item
        from ops.observations
        where measure = %s and day between %s and %s and value > 0
        """,
        (Measure.SHARE, before - _REMEMBERED, before - timedelta(days=1)),
    )
    known: dict[str, Known] = {}
    for unique_id, column, item in cursor.fetchall():
        known.setdefault(unique_id, {}).setdefault(column, set()).add(item)
    return known


def _keep(cursor: Cursor, run_id: str, as_of: datetime, days: list[date], observations: list[Observation]) -> None:
    """Keep observations, in place of what was observed of these days before.

    What changes as rows age stays where another run found it well on that day: the next morning is compared with it.
    Where it found no rows yet, there is nothing to stay.
    """
    cursor.execute(
        """
        delete from ops.observations
        where day = any(%(days)s)
            and (
                measure = any(%(lasting)s)
                or value is null
                or run_id = %(run_id)s
                or not exists (select from ops.publications where publications.run_id = observations.run_id)
                or exists (select from ops.unusual where unusual.run_id = observations.run_id)
            )
        """,
        {"days": days, "lasting": [*LASTING], "run_id": run_id},
    )
    execute_values(
        cursor,
        """
        insert into ops.observations
            (unique_id, column_name, measure, item, day, value, afterwards, run_id, observed_at)
        values %s
        on conflict do nothing
        """,
        [
            (
                one.series.unique_id,
                one.series.column,
                one.series.measure,
                one.series.item,
                one.day,
                one.value,
                one.day < max(days),
                run_id,
                as_of,
            )
            for one in {(one.series, one.day): one for one in observations}.values()
        ],
        page_size=1000,
    )


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
