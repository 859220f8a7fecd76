"""Figures: every metric by its last days, and what moved of what was told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

import psycopg2

from include.dbt_project import metrics
from include.dbt_project.counted import nouns
from include.dbt_project.manifest import Manifest
from include.dbt_project.metrics import Metric
from include.receipts import kept_moves
from include.receipts.move import Move
from include.results import publications
from include.results.figures import open_days
from include.results.publications import Publication
from include.warehouse import transaction
from plugins.data_health.reading import Reading

DAYS = 7
# Of how many publications what moved is shown, and how many figures of each: where another history is written, all do.
PUBLICATIONS, MOVES = 10, 100


@dataclass(frozen=True)
class ToldDay:
    """What is told of a day now, and how often it moved after it was told: `moved` beyond what is usual."""

    day: date
    value: Decimal | None
    moved: int
    moved_as_usual: int


@dataclass(frozen=True)
class FigureByDay:
    """A metric with its last days, by UTC day; a day of which nothing is told is left out."""

    metric: Metric
    days: dict[date, ToldDay]


@dataclass(frozen=True)
class MovesOfPublication:
    """What a publication changed of what was told before: what is more than usual lateness, the largest period first.

    `moves` are the first of so many as `count` says.
    """

    publication: Publication
    moves: tuple[Move, ...]
    count: int


@dataclass(frozen=True)
class Figures:
    """The metrics of the days that end with `last`, the first day first, and what moved last, the newest first.

    `first_told` is since when receipts are kept: None before the first publish that keeps them. `names` has what
    people call each metric, `nouns` what the rows of a model are.
    """

    days: tuple[date, ...]
    figures: tuple[FigureByDay, ...]
    moved: tuple[MovesOfPublication, ...]
    first_told: datetime | None
    newest_day: date | None
    metrics: dict[str, Metric]
    nouns: dict[str, str]

    @property
    def before(self) -> date:
        """The day before the first."""
        return self.days[0] - timedelta(days=1)


_TOLD = """
with figures as (
    select distinct metric from ops.told where day between %(first)s and %(last)s
)

select figures.metric, days.day::date as day, newest.value, moved.loud, moved.as_usual
from figures
cross join generate_series(%(first)s::timestamp, %(last)s, '1 day') as days (day)
cross join lateral (
    select value
    from ops.told
    where newest and told.metric = figures.metric and told.day = days.day::date
) as newest
cross join lateral (
    select count(*) filter (where not usual) as loud, count(*) filter (where usual) as as_usual
    from ops.moves
    where moves.metric = figures.metric and period = 'day' and starts = days.day::date
) as moved
where newest.value is not null
order by figures.metric, days.day
"""


def read(reading: Reading, until: date | None = None) -> Figures:
    """The days up to one, by default the last one that is over and told."""
    newest = newest_day(reading)
    last = until or newest
    [kept] = reading.rows(
        "select min(published_at) as since from ops.publications where publication_id in"
        " (select min(publication_id) from ops.told)"
    )
    days = tuple(last - timedelta(days=back) for back in reversed(range(DAYS))) if last else ()
    rows = reading.rows(_TOLD, {"first": days[0], "last": days[-1]}) if days else []
    named = named_metrics(reading.facts, {row.metric for row in rows})
    by_metric: dict[str, dict[date, ToldDay]] = {name: {} for name in named}
    for row in rows:
        by_metric[row.metric][row.day] = ToldDay(row.day, row.value, row.loud, row.as_usual)
    moved = _moved(reading)
    return Figures(
        days=days,
        figures=tuple(FigureByDay(named[name], of_days) for name, of_days in by_metric.items() if of_days),
        moved=moved,
        first_told=kept.since,
        newest_day=newest,
        metrics=named | named_metrics(reading.facts, {move.metric for one in moved for move in one.moves}),
        nouns=nouns(reading.facts),
    )


def newest_day(reading: Reading) -> date | None:
    """The UTC day whose figures the message tells; where the marts don't say which, the last one that is told."""
    live = publications.live(reading.connection)
    try:
        with transaction(reading.connection):
            days = open_days(reading.connection, live)
    except (psycopg2.ProgrammingError, psycopg2.DataError):  # the marts are not as this project's
        days = None
    [row] = reading.rows("select max(day) as day from ops.told where value is not null") if not days else [None]
    return days[1] if days else row.day


def named_metrics(facts: Manifest, names: set[str]) -> dict[str, Metric]:
    """Metrics by name as people read them: what the message tells first, then by label; unknown ones by their names."""
    ids = {one["name"]: unique_id for unique_id, one in facts.metrics.items()}
    first = [one.name for one in metrics.told(facts)]
    found = {name: metrics.one(ids.get(name, name), facts) for name in names}
    place = {name: (first.index(name) if name in first else len(first), found[name].label, name) for name in names}
    return {name: found[name] for name in sorted(names, key=place.__getitem__)}


def _moved(reading: Reading) -> tuple[MovesOfPublication, ...]:
    rows = reading.rows(
        "select publication_id from ops.publications where publication_id in (select publication_id from ops.moves)"
        " order by publication_id desc limit %(few)s",
        {"few": PUBLICATIONS},
    )
    by_id = publications.named(reading.connection, [row.publication_id for row in rows])
    return tuple(moved_by(reading, by_id[row.publication_id]) for row in rows)


def moved_by(reading: Reading, publication: Publication) -> MovesOfPublication:
    """What a publication changed."""
    found = kept_moves.of_publication(reading.connection, publication.publication_id)
    return MovesOfPublication(publication, tuple(sorted(found, key=lambda move: move.usual)[:MOVES]), len(found))
