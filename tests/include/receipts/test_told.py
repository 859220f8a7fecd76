"""What was told: it comes back for every figure of every message, and costs no publish whatever the metrics are."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from include.daily import buffers
from include.dbt_project.manifest import read
from include.publish import by_hand, exchange, receipts
from include.publish.publish import publish_run
from include.receipts import basis, told
from include.results import figures, node_results, publications, runs
from include.results.figures import Figure
from include.results.nodes import NodeResult
from tests.releases import make_release

pytestmark = pytest.mark.db

METRICS = {"revenue": "dollars", "late_rate": "percent"}
FACTS = {
    "nodes": {
        "model.p.daily_metrics": {
            "resource_type": "model",
            "name": "daily_metrics",
            "schema": "analytics_next",
            "config": {"materialized": "table"},
            "depends_on": {"nodes": []},
            "checksum": {"name": "sha256", "checksum": "c0ffee"},
        }
    },
    "sources": {},
    "metrics": {
        name: {"name": name, "type": "derived", "label": name, "config": {"meta": {"in_message": place, "unit": unit}}}
        for place, (name, unit) in enumerate(METRICS.items())
    },
}
COLUMNS = "metric text, day date, value numeric(16, 4), numerator numeric(16, 2), denominator bigint"
MON, TUE, WED = (date(2026, 11, day) for day in (23, 24, 25))


def do(db: Connection, statement: str) -> list[tuple]:
    with db.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


class Shop:
    """A shop of one mart, and all that its messages have stated: when, which figure, and what."""

    def __init__(self, db: Connection, folder: Path, environment: pytest.MonkeyPatch) -> None:
        environment.setenv("GREENERY_STATE_DIR", str(folder))
        self.db = db
        self.manifest = read(make_release("release", json.dumps(FACTS)).manifest)
        self.stated: list[tuple] = []
        self.runs = 0

    def build(self, days: dict[date, tuple[float, int, int]]) -> str:
        """A run that builds: of each day revenue, orders that were late, and orders."""
        self.runs += 1
        run_id = f"run {self.runs}"
        runs.begin(self.db, run_id, "release")
        buffers.begin(self.db, run_id)
        do(self.db, f"drop table if exists analytics_next.daily_metrics; {self.table(days)}")
        built = NodeResult("model.p.daily_metrics", "model", "daily_metrics", "success", None, None, "", 0.1, 1)
        node_results.record(self.db, run_id, "task", 1, [built])
        return run_id

    @staticmethod
    def table(days: dict[date, tuple[float, int, int]]) -> str:
        rows = []
        for day, (revenue, late, orders) in days.items():
            rows += [("orders", day, orders, orders, "null"), ("revenue", day, revenue, revenue, "null")]
            rates = ("late_rate", "repeat_rate") if day == max(days) else ("late_rate",)
            rows += [(rate, day, f"{late} * 1.0 / {orders}", late, orders) for rate in rates]
        values = ", ".join(f"('{metric}', '{day}', {', '.join(map(str, numbers))})" for metric, day, *numbers in rows)
        table = "analytics_next.daily_metrics"
        return f"create table {table} ({COLUMNS}); insert into {table} values {values}"

    def publish(self, days: dict[date, tuple[float, int, int]]) -> None:
        publish_run(self.build(days), self.manifest)
        self.state(f"run {self.runs}")

    def state(self, publishes: str | None = None) -> tuple[Figure, ...]:
        """The figures of a message, be it one that says that nothing was published."""
        live = publications.live(self.db)
        found = figures.gather(self.db, live, self.manifest)
        if publishes:
            figures.keep(self.db, publishes, found)
        assert found.told_on
        self.stated += [(found.told_on, one.name, one.day, one.value) for one in found.stated]
        return found.stated

    def as_told(self) -> list[tuple]:
        """The same, by what `ops.told` gives back."""
        found = [(at, name, day, told.as_told(self.db, name, day, at)) for at, name, day, _ in self.stated]
        return [(at, name, day, float(one.value)) for at, name, day, one in found if one and one.value is not None]

    def notes(self) -> tuple[str, ...]:
        return publications.live(self.db).notes


@pytest.fixture
def shop(db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Before its first day."""
    return Shop(db, tmp_path, monkeypatch)


def test_every_figure_of_every_message_comes_back(shop: Shop) -> None:
    """Late rows, a rollback, a red run after it, a publish by hand, and a day that is gone."""
    shop.publish({MON: (100.25, 1, 3)})
    shop.publish({MON: (130.5, 1, 4), TUE: (50, 0, 2)})
    by_hand.roll_back("ada", "Tuesday is wrong")
    assert {one.name: one.value for one in shop.state()}["revenue"] == 100.25
    shop.publish({MON: (130.5, 2, 4), TUE: (55, 1, 3), WED: (7, 0, 1)})
    run_id = shop.build({MON: (130.5, 2, 4), WED: (9, 1, 2)})
    by_hand.publish_anyway(run_id, "ada", "it is fine")
    [(said,)] = do(shop.db, "select body from ops.messages where kind = 'publish'")
    assert "revenue of Wed 25 Nov is $2.00 higher than told" in said
    shop.state()
    assert len(shop.stated) == 15
    assert shop.as_told() == shop.stated
    kept = do(shop.db, "select publication_id, metric, day, value from ops.metrics order by 1, 2")
    assert len(kept) == 12
    by_message = {one: figures.stated(shop.db, one) for one in {publication_id for publication_id, *_ in kept}}
    assert [
        (publication_id, one.metric, one.day, float(one.value))
        for publication_id, found in sorted(by_message.items())
        for one in found.values()
    ] == kept
    history = told.history(shop.db, "revenue", TUE)
    assert [(one.publication_id, one.value) for one in history] == [(2, 50), (3, None), (4, 55), (5, None)]
    assert told.as_told(shop.db, "revenue", MON) == told.history(shop.db, "revenue", MON)[-1]
    assert told.as_told(shop.db, "revenue", WED, history[0].told_at) is None


def test_only_what_changed_is_noted_and_the_last_word_is_the_newest(shop: Shop) -> None:
    days = {MON: (100.25, 1, 3), TUE: (50, 0, 2)}
    for _ in range(2):
        shop.publish(days)
    assert do(shop.db, "select distinct publication_id from ops.told") == [(1,)]
    shop.publish(days | {TUE: (51, 0, 2)})
    assert do(shop.db, "select metric, day, value from ops.told where publication_id = 3") == [("revenue", TUE, 51)]
    assert do(shop.db, "select publication_id from ops.told where not newest") == [(1,)]
    assert do(shop.db, "select count(*), count(distinct (metric, day)) from ops.told where newest") == [(7, 7)]


TWO_AT_ONCE = f"insert into analytics_next.daily_metrics values ('revenue', '{MON}', 5), ('revenue', '{MON}', 4)"
ODD = {
    "no table": ("drop table analytics_next.daily_metrics", None),
    "other columns": ("alter table analytics_next.daily_metrics drop column value", None),
    "no numbers beside the value": (
        "alter table analytics_next.daily_metrics drop column numerator, drop column denominator",
        100,
    ),
    "several rows of a day": (TWO_AT_ONCE, 4),
    "no key": ("insert into analytics_next.daily_metrics values (null, '2026-11-23', 1), ('revenue', null, 1)", 100),
    "no number": ("update analytics_next.daily_metrics set value = 'NaN'", None),
    "without an end": (
        "alter table analytics_next.daily_metrics alter value type float8;"
        " update analytics_next.daily_metrics set value = '-Infinity'",
        None,
    ),
}


@pytest.mark.parametrize(("otherwise", "value"), ODD.values(), ids=ODD)
def test_whatever_the_metrics_are_it_is_published(shop: Shop, otherwise: str, value: int | None) -> None:
    shop.publish({MON: (90, 1, 3)})
    run_id = shop.build({MON: (100, 1, 3)})
    do(shop.db, otherwise)
    exchange.exchange(run_id, buffers.current(shop.db), manifest=shop.manifest)
    assert shop.notes() == ()
    assert told.as_told(shop.db, "revenue", MON).value == value
    shop.state()
    assert shop.as_told() == shop.stated


def test_what_can_not_be_told_costs_a_note_and_comes_with_the_next_publish(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.publish({MON: (100, 1, 3)})
    monkeypatch.setattr(receipts, "WITHIN", 0.3)
    table = "analytics_next.daily_metrics"
    for otherwise, said in (
        (
            f"alter table {table} alter value type text using value || ' or ann@example.com'",
            'invalid input syntax for type numeric: "…"',
        ),
        (
            f"drop table {table}; create view {table} as"
            " select 'revenue' as metric, date '2026-11-23' as day, length(pg_sleep(0.4)::text) as value",
            "canceling statement due to statement timeout",
        ),
    ):
        run_id = shop.build({MON: (200, 1, 3)})
        do(shop.db, otherwise)
        exchange.exchange(run_id, buffers.current(shop.db), manifest=shop.manifest)
        live = publications.live(shop.db)
        assert (live.run_id, live.notes) == (run_id, (f"Its receipts lack what its figures tell: {said}",))
        assert told.as_told(shop.db, "revenue", MON).value == 100
        assert [one.checksum for one in basis.models(shop.db, live.publication_id)] == ["c0ffee"]
    do(shop.db, "drop view analytics.daily_metrics")
    shop.publish({MON: (300, 1, 3)})
    assert (shop.notes(), told.as_told(shop.db, "revenue", MON).value) == ((), Decimal(300))
