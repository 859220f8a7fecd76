"""What of a run's observations is unusual: judged, put together where it belongs together, kept in `ops.unusual`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from psycopg2.extensions import connection as Connection
from psycopg2.extras import Json, execute_values

from include.answers.answer import Answer, Kind
from include.answers.answers import is_about
from include.dbt_project import metrics, watched
from include.dbt_project.manifest import Manifest
from include.dbt_project.watched import Consequence
from include.unusual.expect import LONGEST, YOUNG, Past, score
from include.unusual.observe import history
from include.unusual.series import LASTING, Expected, Measure, Observation, Series, Unusual

# After four weeks at a new level it is what is usual.
_NEW_LEVEL = 28
# Which days a look at a week compares: so long after somebody said that it was fine nothing is said of it.
_WEEKS = 28


def find(connection: Connection, run_id: str, facts: Manifest, answers: Sequence[Answer]) -> tuple[Unusual, ...]:
    """Judge the newest day of every series, and keep what is unusual as this run's; the worst comes first.

    `answers` are those in force.
    """
    with connection.cursor() as cursor:
        cursor.execute("select max(day) from ops.observations")
        [[newest]] = cursor.fetchall()
    if newest is None:
        return ()
    told = _told(connection, newest)
    found = judged(history(connection, newest, LONGEST + 1), newest, facts, told, answers)
    keep(connection, run_id, found)
    return found


def of_run(connection: Connection, run_id: str) -> tuple[Unusual, ...]:
    """What a run found, the worst first."""
    return _read(connection, "run_id = %(run_id)s", {"run_id": run_id})


def of_series(connection: Connection, series: Series) -> tuple[Unusual, ...]:
    """What runs found of a series, on whatever day; not what a second run of the day has seen otherwise."""
    condition = "(unique_id, measure, column_name, item) = (%(unique_id)s, %(measure)s, %(column_name)s, %(item)s)"
    return _read(connection, f"{condition} and {_NOT_REPLACED}", _names(series))


def usual(
    observations: Sequence[Observation],
    told: Sequence[Unusual],
    fine: Collection[date],
    series_watched: int,
    rows: Mapping[date, float],
) -> Expected | None:
    """What is usual on the last of the days, as it is judged: `told` on earlier ones, of which people said `fine`."""
    past = _Judge(observations[-1].series, observations, told, fine).past(rows)
    return past.day(series_watched) if past else None


def judged(
    past: Mapping[Series, Sequence[Observation]],
    day: date,
    facts: Manifest,
    told: Iterable[Unusual] = (),
    answers: Sequence[Answer] = (),
    only: Collection[Series] | None = None,
) -> tuple[Unusual, ...]:
    """What is unusual on a day, the worst first. Pure.

    `past` may have later days, they are not looked at. `told`: what was found on earlier days. `only` these series are
    judged, beside the others; all where it is None.
    """
    watched_series = {
        series: observations
        for series, observations in past.items()
        if watched.is_watched(facts, series.unique_id, series.column)
    }
    before: dict[Series, list[Unusual]] = {}
    for one in told:
        if one.day < day:
            before.setdefault(one.series, []).append(one)
    expected = [one for one in answers if one.kind is Kind.EXPECTED]
    rows = {
        series.unique_id: {one.day: one.value for one in observations if one.value}
        for series, observations in past.items()
        if series.measure is Measure.ROWS
    }
    found, settled = [], set()
    for series, observations in watched_series.items():
        if only is not None and series not in only:
            continue
        until = [one for one in observations if one.day <= day]
        if not until or until[-1].day != day or until[-1].value is None:
            continue
        said = {one.about.day for one in expected if _answers(one, series, before.get(series, ()))}
        if not said.isdisjoint((None, day)):
            settled.add(series)
        judge = _Judge(series, until, before.get(series, []), said - {None, day})
        if one := judge.unusual(len(watched_series), rows.get(series.unique_id, {})):
            found.append(one)
    left = [one for one in _together(found, facts) if settled.isdisjoint((one.series, one.because))]
    holding = (replace(one, holds=_holds(one.series, facts, answers)) for one in left)
    return tuple(sorted(holding, key=lambda one: (-one.score, one.series)))


@dataclass(frozen=True)
class _Judge:
    """A series up to the day that is judged, what was told of it, and the days that somebody said were fine."""

    series: Series
    observations: Sequence[Observation]
    told: Sequence[Unusual]
    fine: Collection[date]

    def past(self, rows: Mapping[date, float]) -> Past | None:
        """None while it is too early: the first days that runs observe say whether the days before were alike."""
        if not self.observations[-1].afterwards and sum(not one.afterwards for one in self.observations) <= YOUNG:
            return None
        return Past.of(self._counted(), self.observations[-1].day, self.series.measure, rows, self._fine_lately)

    def unusual(self, series_watched: int, rows: Mapping[date, float]) -> Unusual | None:
        newest = self.observations[-1]
        past = self.past(rows)
        if past is None:
            return None
        expected = past.day(series_watched)
        if score(newest.value, expected) > 1:
            return self._unusual(newest.value, expected, days=1)
        week = None if self._fine_lately else past.week(newest.value, series_watched)
        if week and score(*week) > 1:
            return self._unusual(*week, days=7)
        return None

    def _unusual(self, value: float, expected: Expected, days: int) -> Unusual:
        newest = self.observations[-1]
        return Unusual(self.series, newest.day, value, expected, score(value, expected), self._since(), days=days)

    def _since(self) -> date:
        told = {one.day for one in self.told}
        since = self.observations[-1].day
        for one in reversed(self.observations[:-1]):
            if one.day not in told:
                break
            since = one.day
        return since

    @property
    def _fine_lately(self) -> frozenset[date]:
        """Four weeks of them: else one answer to a day without rows would hide such days for months."""
        newest = self.observations[-1].day
        return frozenset(day for day in self.fine if newest - day < timedelta(days=_WEEKS))

    def _counted(self) -> list[Observation]:
        """The days to learn from: not those that were unusual, but where it stayed so for long enough.

        And those alone that were measured as soon as the newest one, where rows change later on.
        """
        newest = self.observations[-1]
        alike = [
            one
            for one in self.observations[:-1]
            if self.series.measure in LASTING or one.afterwards == newest.afterwards
        ]
        odd = {one.day for one in self.told if one.days == 1} - self._fine_lately
        start, in_a_row = 0, 0
        for n, one in enumerate(alike):
            in_a_row = in_a_row + 1 if one.day in odd else 0
            if in_a_row == _NEW_LEVEL:
                start = n + 1 - _NEW_LEVEL
                odd -= {new.day for new in alike[start : n + 1]}
        return [one for one in alike[start:] if one.day not in odd]


def _answers(answer: Answer, series: Series, told: Iterable[Unusual]) -> bool:
    """Whether an answer is about a series, or about what explained it on that day."""
    causes = [one.because for one in told if one.because and one.day == answer.about.day]
    return any(is_about(answer, one.about()) for one in (series, *causes))


def _holds(series: Series, facts: Manifest, answers: Sequence[Answer]) -> bool:
    """Whether its owner wants no publish with it. A mute doesn't end that, unless it says so."""
    waived = any(one.kind is Kind.MUTE and one.waives and is_about(one, series.about()) for one in answers)
    return not waived and watched.consequence(facts, series.unique_id, series.column) is Consequence.HOLD


def _together(found: Sequence[Unusual], facts: Manifest) -> list[Unusual]:
    """The same, each with the one that explains it: the most upstream, and of those the worst.

    How long a build took explains nothing, and when a load came explains only when another did.
    """
    data = [one for one in found if one.series.measure not in (Measure.LOADED, Measure.SECONDS)]
    loads = [one for one in found if one.series.measure is Measure.LOADED]
    explained = {**_explained(data, facts), **_explained(loads, facts)}
    return [replace(one, because=explained.get(one.series)) for one in found]


def _explained(found: Sequence[Unusual], facts: Manifest) -> dict[Series, Series]:
    upstream = {one.series.unique_id: _upstream(one.series.unique_id, facts) for one in found}
    # Raw tables of which less came, or more, at once: one load brought them.
    source_rows = [
        one
        for one in found
        if one.series.measure in (Measure.ROWS, Measure.LOADED) and not upstream[one.series.unique_id]
    ]
    because = {}
    for one in found:
        of = one.series.unique_id
        nodes = {of} | (upstream[of] & upstream.keys())
        first = {node for node in nodes if not upstream[node] & nodes}
        causes = [cause for cause in found if cause.series.unique_id in first]
        volume = [cause for cause in causes if cause in source_rows]
        if volume:
            worst = min(volume, key=_worst)
            causes = volume + [cause for cause in source_rows if _direction(cause) == _direction(worst)]
        worst = min(causes, key=_worst)
        if worst.series != one.series:
            because[one.series] = worst.series
    return because


def _worst(one: Unusual) -> tuple[bool, float, Series]:
    return one.series.measure is not Measure.ROWS, -one.score, one.series


def _direction(one: Unusual) -> bool:
    return one.value > one.expected.middle


def _upstream(unique_id: str, facts: Manifest) -> set[str]:
    """What a node descends from; a metric, from the model that tells its values."""
    if unique_id not in facts.metrics:
        return facts.upstream(unique_id)
    model = metrics.model(facts)
    return {model, *facts.upstream(model)} if model else set()


_COLUMNS = """
    unique_id, measure, column_name, item, day, value, expected, least, most, score, since, because, holds, days,
    learned_from
"""
# What another run observed of the day in place of it is what counts. Days that are caught up replace nothing.
_NOT_REPLACED = """
    not exists (
        select
        from ops.observations as kept
        where (kept.unique_id, kept.measure, kept.column_name, kept.item, kept.day)
            = (unusual.unique_id, unusual.measure, unusual.column_name, unusual.item, unusual.day)
            and kept.run_id <> unusual.run_id
            and not kept.afterwards
    )
"""


def keep(connection: Connection, run_id: str, found: Iterable[Unusual]) -> None:
    """In place of what an earlier try of the run found, in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute("delete from ops.unusual where run_id = %s", (run_id,))
        execute_values(
            cursor,
            f"insert into ops.unusual (run_id, {_COLUMNS}) values %s",  # noqa: S608 - a constant
            [
                (
                    run_id,
                    *_names(one.series).values(),
                    one.day,
                    one.value,
                    one.expected.middle,
                    one.expected.least,
                    one.expected.most,
                    one.score,
                    one.since,
                    Json(_names(one.because)) if one.because else None,
                    one.holds,
                    one.days,
                    one.expected.days,
                )
                for one in found
            ],
        )


def _names(series: Series) -> dict[str, str]:
    return {
        "unique_id": series.unique_id,
        "measure": series.measure.value,
        "column_name": series.column,
        "item": series.item,
    }


def _told(connection: Connection, until: date) -> tuple[Unusual, ...]:
    """What runs found on the days that are learned from."""
    return _read(
        connection,
        f"day between %(first)s and %(until)s and {_NOT_REPLACED}",
        {"first": until - timedelta(LONGEST), "until": until},
    )


def _read(connection: Connection, condition: str, parameters: Mapping[str, object]) -> tuple[Unusual, ...]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            select {_COLUMNS}
            from ops.unusual
            where {condition}
            order by score desc, unique_id, measure, column_name, item
            """,  # noqa: S608 - constants
            parameters,
        )
        return tuple(_unusual(row) for row in cursor.fetchall())


def _unusual(row: tuple) -> Unusual:
    unique_id, measure, column, item, day, value, middle, least, most, how_far, since, because, holds, days, of = row
    series = Series(unique_id, Measure(measure), column, item)
    cause = because and Series(
        because["unique_id"], Measure(because["measure"]), because["column_name"], because["item"]
    )
    return Unusual(series, day, value, Expected(middle, least, most, of), how_far, since, cause, holds, days)
