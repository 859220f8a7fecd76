"""What else happened on the days of an explanation. It is told as *at the same time*, never as a cause.

What was found by tests, and what moved, is of the publication that people query.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from include import words
from include.answers import answers
from include.answers.answer import Kind
from include.dbt_project import explained_by, metrics
from include.dbt_project.counted import Counted
from include.dbt_project.manifest import Manifest
from include.receipts import basis, kept_moves
from include.receipts.explanation import Explanation, Meanwhile
from include.receipts.items import by_item
from include.receipts.move import Period
from include.settings import LIVE
from include.unusual import find
from include.unusual import words as unusual_words
from include.warehouse import has_columns

# So many days say what was usual of an item: a week has each weekday.
_DAYS_BEFORE = 7
_STOCK_OUTS = f"{LIVE}.product_stock_outs"


def of(connection: Connection, facts: Manifest, whole: Explanation, rows: Counted) -> tuple[Meanwhile, ...]:
    """What happened to the items of its splits, and to what its rows are made of."""
    with connection.cursor() as cursor:
        cursor.execute("select publication_id, run_id from ops.publications order by publication_id desc limit 1")
        live = cursor.fetchone()
    made_of = _made_of(facts, rows)
    found = [*_stock_outs(connection, whole), *_came_and_went(connection, facts, whole)]
    if live:
        publication_id, run_id = live
        found += _loads(connection, publication_id, facts, whole, made_of)
        found += _tests(connection, run_id, facts, made_of)
        found += _unusual(connection, run_id, facts, whole, made_of)
        found += _moved(connection, publication_id, facts, whole)
    return tuple(found)


def _made_of(facts: Manifest, rows: Counted) -> set[str]:
    """The models whose rows are counted, and all that they descend from."""
    models = {measure.unique_id for measure in rows.measures}
    return models.union(*map(facts.upstream, models))


def _stock_outs(connection: Connection, whole: Explanation) -> Iterator[Meanwhile]:
    """Products that were sold out for part of the time; a load shows that, so the first after the day counts too."""
    dimensions = {share.item: split.dimension for split in whole.splits for share in split.shares if share.item}
    if not has_columns(connection, _STOCK_OUTS, "product_id", "out_from", "out_until"):
        return
    first, last = _begin(whole.former_day), _begin(whole.day + timedelta(days=1))
    with connection.cursor() as cursor:
        cursor.execute("select min(loaded_at) from ops.publication_loads where loaded_at >= %s", (last,))
        last = cursor.fetchone()[0] or last
        cursor.execute(
            sql.SQL(
                """
                select product_id::text, out_from::timestamp, out_until::timestamp
                from {}
                where product_id::text = any(%(items)s)
                    and out_from <= %(last)s
                    and (out_from >= %(first)s or out_until between %(first)s and %(last)s)
                order by out_from, product_id
                """
            ).format(sql.Identifier(*_STOCK_OUTS.split("."))),
            {"items": list(dimensions), "first": _naive(first), "last": _naive(last)},
        )
        for product, out_from, out_until in cursor.fetchall():
            says = f"sold out {_at(out_from, whole.day)}"
            if out_until and out_until <= _naive(last):
                says += f", back {_at(out_until, whole.day)}"
            yield Meanwhile("stock-out", says, dimensions[product], product)


def _came_and_went(connection: Connection, facts: Manifest, whole: Explanation) -> Iterator[Meanwhile]:
    """Items that nothing was counted of on any of the days before, as a promotion that began; or on each of them."""
    before = [whole.day - timedelta(days=back) for back in range(1, _DAYS_BEFORE + 1)]
    splits = {split.dimension: split for split in whole.splits}
    for dimension in explained_by.dimensions(facts, whole.metric):
        shares = splits[dimension.name].shares if dimension.name in splits else ()
        if len(dimension.sides) > 1 or all(share.former and share.value for share in shares if share.item):
            continue  # of a ratio, 0 does not say that there was none
        items = by_item(connection, dimension.sides[0], before)
        if {day for sums in items.values() for day in sums} != set(before):
            continue  # a young shop, or one that was closed
        for share in shares:
            days = len(items.get(share.item, {}))
            if share.item and share.value and not days:
                yield Meanwhile("began", f"none in the {_DAYS_BEFORE} days before", dimension.name, share.item)
            elif share.item and not share.value and days == _DAYS_BEFORE:
                says = f"none, after some on each of the {_DAYS_BEFORE} days before"
                yield Meanwhile("ended", says, dimension.name, share.item)


def _loads(
    connection: Connection, publication_id: int, facts: Manifest, whole: Explanation, made_of: set[str]
) -> Iterator[Meanwhile]:
    """Tables of what happens, by their `event_time`, that no load came of since the day was over."""
    dated = {
        facts.sources[one]["identifier"]: facts.title(one)
        for one in made_of & facts.sources.keys()
        if facts.sources[one].get("config", {}).get("event_time")
    }
    over = _begin(whole.day + timedelta(days=1))
    for load in basis.loads(connection, publication_id):
        if load.table in dated and load.loaded_at < over:
            last = _at(load.loaded_at, whole.day)
            yield Meanwhile("load", f"{dated[load.table]} was last loaded {last}, before the day was over")


def _tests(connection: Connection, run_id: str, facts: Manifest, made_of: set[str]) -> Iterator[Meanwhile]:
    mutes = answers.in_force(connection, datetime.now(UTC).date())
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select unique_id, name, status
            from ops.last_words
            where run_id = %s and resource_type = 'test' and status in ('fail', 'error', 'warn')
            order by name
            """,
            (run_id,),
        )
        for unique_id, name, status in cursor.fetchall():
            tested = facts.tested(unique_id) if unique_id in facts.nodes else []
            if made_of.isdisjoint(tested):
                continue
            muted = answers.of(mutes, Kind.MUTE, unique_id, tested)
            said = f"test {name} of {facts.title(tested[0])} {'warned' if status == 'warn' else 'failed'}"
            yield Meanwhile("test", f"{said}, muted by {muted.by}" if muted else said)


def _unusual(
    connection: Connection, run_id: str, facts: Manifest, whole: Explanation, made_of: set[str]
) -> Iterator[Meanwhile]:
    for one in find.of_run(connection, run_id):
        series = one.series
        shown = series.unique_id in made_of and series.column not in facts.personal_columns
        if shown and one.day in (whole.day, whole.former_day):
            value, usual = (
                unusual_words.value(one.value, series, facts),
                unusual_words.usual(one.expected, series, facts),
            )
            says = f"{unusual_words.title(series, facts)} on {_day(one.day)}: {value}, usually {usual}"
            yield Meanwhile("unusual", says)


def _moved(connection: Connection, publication_id: int, facts: Manifest, whole: Explanation) -> Iterator[Meanwhile]:
    """Whether one of both days was told otherwise before."""
    unit = next((metrics.one(one, facts).unit for one in facts.metrics if one.endswith(f".{whole.metric}")), None)
    for move in kept_moves.of_publication(connection, publication_id):
        days = (whole.day, whole.former_day)
        if unit and move.metric == whole.metric and move.period is Period.DAY and move.starts in days and move.told:
            told = words.figure(float(move.told), unit)
            yield Meanwhile("moved", f"{_day(move.starts)} had been told as {told}")


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _naive(at: datetime) -> datetime:
    """The marts have times in UTC without a zone."""
    return at.astimezone(UTC).replace(tzinfo=None)


def _at(at: datetime, day: date) -> str:
    """A UTC time, with its day where that is another one: "at 10:40", "on 21 Nov at 10:40"."""
    at = _naive(at) if at.tzinfo else at
    return f"at {at:%H:%M}" if at.date() == day else f"on {_day(at.date())} at {at:%H:%M}"


def _day(day: date) -> str:
    return f"{day:%d %b}"
