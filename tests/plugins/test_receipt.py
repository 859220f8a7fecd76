"""Figures and their receipts: as told on any moment, on what they stand, their rows, and what is known against them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from psycopg2.extensions import connection as Connection

from include.answers import answers
from include.answers.answer import About, Kind
from include.receipts import address, basis, kept_moves, told
from include.receipts.explanation import Explanation, Meanwhile, Share, Split
from include.receipts.move import Move, MovedRow, Part, Period, Side, What
from include.receipts.moves import Found
from include.results import node_results, publications
from include.results.standing import Against
from include.warehouse import roles
from plugins.data_health import pages, rows_of_figure
from plugins.data_health.access import may_see
from plugins.data_health.app import app
from plugins.data_health.views import figures, receipt, run
from tests.plugins import shop
from tests.plugins.shop import MART, STAGED, UNIQUE, built, of_test
from tests.plugins.unusual import ARRIVAL, ROWS, far_off, observe

pytestmark = pytest.mark.db
Ask = Callable[..., Any]

METRICS = "model.p.daily_metrics"
DAY = date(2026, 11, 23)
LACKING = "Its receipts lack what its figures tell: it took too long"
FACTS = replace(
    shop.FACTS,
    nodes=shop.FACTS.nodes
    | {
        METRICS: {**shop.FACTS.nodes[MART], "name": "daily_metrics", "depends_on": {"nodes": [MART]}},
        "test.p.other": {**shop.FACTS.nodes[UNIQUE], "name": "other", "attached_node": "model.p.apart"},
    },
    metrics={
        f"metric.p.{name}": {
            "name": name,
            "label": name.capitalize(),
            "type": "simple",
            "type_params": {"measure": {"name": name}},
            "config": {"meta": {"in_message": place, "unit": unit}},
        }
        for place, (name, unit) in enumerate((("revenue", "dollars"), ("units", "number")))
    },
    semantic_models={
        "semantic_model.p.orders": {
            "depends_on": {"nodes": [MART]},
            "node_relation": {"alias": "fact_orders"},
            "defaults": {"agg_time_dimension": "ordered_at"},
            "dimensions": [{"name": "ordered_at", "type": "time"}],
            "entities": [{"name": "order", "type": "primary", "expr": "order_id"}],
            "measures": [{"name": "revenue", "agg": "sum", "expr": "items_amount"}],
        }
    },
)
# What is said of each, in their order.
KNOWN = ("an audit", "the test is wrong", "3 values", "adds_up", "rows of raw.orders", "moving house", "Black Friday")
LATE = Part(Side.NUMERATOR, What.LATE, "fact_orders", 1, Decimal("10.10"), ("=1+1",))
MOVED = Found(
    Move("revenue", Period.DAY, DAY, Decimal(31), Decimal("41.10"), adds_up=True, parts=(LATE,)),
    rows=(
        MovedRow(Side.NUMERATOR, MART, "order_id", "=1+1", What.LATE, None, Decimal("10.10")),
        MovedRow(Side.NUMERATOR, MART, "user_id", "u1", What.CORRECTED, Decimal(1), Decimal(1), ("email", "units")),
        MovedRow(Side.NUMERATOR, MART, "lower(email)", "u2", What.CORRECTED, Decimal(1), Decimal(1)),
    ),
)
AS_USUAL = Found(Move("units", Period.MONTH, date(2026, 10, 1), Decimal(5), Decimal(6), usual=True))
ORDERS = [
    ("=1+1", "ada@example.com", "u1", "2026-11-23 09:00", "10.10"),
    ("two", "bob@example.com", "u2", "2026-11-23 23:59:59", "31.00"),
    ("other", "eve@example.com", "u3", "2026-11-24 00:00", "99.00"),
]


@dataclass
class Weeks:
    """Three publications: the first tells less than the second, the third the same but of other SQL."""

    ops: Connection
    moments: list[datetime]


def _publish(ops: Connection, run_id: str, revenue: str, sql: str, *, decided: str = "") -> datetime:
    shop.run(ops, run_id, 1, built(compiled_sql=sql), of_test("pass"), of_test("warn", shop.ADDS_UP))
    with ops.cursor() as cursor:
        cursor.execute("delete from analytics.daily_metrics")
        cursor.execute("insert into analytics.daily_metrics values ('revenue', %s, %s)", (DAY, revenue))
        made = publications.decide(ops, publications.PUBLISH, run_id, "ada", decided) if decided else None
        publication_id, at = publications.note(cursor, run_id, "analytics", as_of=None, decision=made, notes=[])
        told.note(cursor, publication_id, "analytics")
        basis.note(cursor, publication_id, FACTS, None)
        kept_moves.keep(cursor, publication_id, (MOVED, AS_USUAL) if decided else ())
    ops.commit()
    return at


@pytest.fixture
def weeks(ops: Connection) -> Weeks:
    """The publications, and rows that make up what is told now."""
    with ops.cursor() as cursor:
        cursor.execute("create table analytics.daily_metrics (metric text, day date, value numeric(16, 4))")
        cursor.execute(
            "create table analytics.fact_orders"
            " (order_id text, email text, user_id text, ordered_at timestamp, items_amount numeric(16, 2))"
        )
        cursor.executemany("insert into analytics.fact_orders values (%s, %s, %s, %s, %s)", ORDERS)
        cursor.execute("create table raw.loads (table_name text, loaded_at timestamptz, rows bigint)")
        cursor.execute("insert into raw.loads values ('orders', '2026-11-24 05:00+00', 7)")
        roles.open_to_readers(cursor, "analytics", closed="analytics_next")
    moments = [
        _publish(ops, "first", "31.00", "select 1"),
        _publish(ops, "second", "41.10", "select 1", decided="the test is wrong"),
        _publish(ops, "third", "41.10", "select '<b>'"),
    ]
    return Weeks(ops, moments)


@pytest.fixture
def client(weeks: Weeks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TestClient]:
    """The page without a login, of this project."""
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    monkeypatch.setattr("plugins.data_health.reading.facts", lambda: FACTS)
    monkeypatch.setitem(app.dependency_overrides, may_see.dependency, lambda: None)
    with TestClient(app) as opened:
        yield opened


def test_as_told_on_a_moment_and_as_it_is_now(weeks: Weeks, ask: Ask) -> None:
    first, second, third = weeks.moments
    then = ask(receipt.read, "revenue", DAY, first, facts=FACTS)
    assert (then.told.value, then.now.value, then.publication.run_id) == (Decimal(31), Decimal("41.1"), "first")
    assert then.differs
    newest = ask(receipt.read, "revenue", DAY, facts=FACTS)
    assert (newest.told.value, newest.told.told_at, newest.publication.run_id) == (Decimal("41.1"), second, "third")
    assert not newest.differs
    early = ask(receipt.read, "revenue", DAY, first - timedelta(seconds=1), facts=FACTS)
    assert (early.told, early.publication, early.before_receipts) == (None, None, False)
    assert third > second


def test_how_it_moved_is_told_with_its_rows_but_for_keys_of_people(weeks: Weeks, ask: Ask) -> None:
    found = ask(receipt.read, "revenue", DAY, facts=FACTS)
    second, first = found.history
    assert [one.told.value for one in (second, first)] == [Decimal("41.1"), Decimal(31)]
    assert (second.move, first.move) == (MOVED.move, None)
    assert {(row.key, row.changed) for row in second.rows} == {("=1+1", ()), (None, ("units",)), (None, ())}
    page = pages.render("receipt.html", answer=found)
    assert "1 order came late: +$10.10" in page
    assert ">u1<" not in page


def test_it_stands_on_loads_models_and_tests_of_then(weeks: Weeks, ask: Ask) -> None:
    with weeks.ops.cursor() as cursor:
        cursor.execute(
            "update ops.publication_models set checksum = 'another' where unique_id like '%stg_orders'"
            " and publication_id = (select max(publication_id) from ops.publications)"
        )
    weeks.ops.commit()
    then = ask(receipt.read, "revenue", DAY, weeks.moments[1], facts=FACTS)
    assert [(load.table, load.rows) for load in then.loads] == [("orders", 7)]
    assert {model.name: (model.built.sql, model.changed, model.ran_otherwise) for model in then.models} == {
        "fact_orders": ("select 1", False, True),  # as after a full build
        "stg_orders": (None, True, False),
        "daily_metrics": (None, False, False),
    }
    assert [(test.title, test.state) for test in then.tests] == [
        ("test adds_up", "warn"),
        ("unique on fact_orders.order_id", "pass"),
    ]
    newest = pages.render("receipt.html", answer=ask(receipt.read, "revenue", DAY, facts=FACTS))
    assert "select &#39;&lt;b&gt;&#39;" in newest


def test_what_is_known_against_it(weeks: Weeks, ask: Ask) -> None:
    today = datetime.now(UTC).date()
    answers.give(weeks.ops, Kind.MUTE, About(STAGED), "bob", "moving house", today)
    answers.give(weeks.ops, Kind.MUTE, About("model.p.apart"), "bob", "of something else", today)
    answers.give(weeks.ops, Kind.EXPECTED, About("metric.p.revenue", day=DAY), "bob", "Black Friday", today)
    answers.give(weeks.ops, Kind.EXPECTED, About("metric.p.revenue", day=today), "bob", "of another day", today)
    publications.decide(weeks.ops, publications.HOLD, None, "eve", "an audit")
    other = replace(far_off(ARRIVAL), day=DAY - timedelta(days=3), since=DAY - timedelta(days=3))
    observe(weeks.ops, "first", [], [far_off(ROWS), other])
    node_results.record(weeks.ops, "second", "task", 1, [of_test("fail")])
    weeks.ops.commit()
    found = ask(receipt.read, "revenue", DAY, weeks.moments[1], facts=FACTS)
    assert [(one.against, needle in one.says) for one, needle in zip(found.against, KNOWN, strict=True)] == [
        (Against.HOLD, True),
        (Against.DECISION, True),
        (Against.FAILED, True),
        (Against.WARNED, True),
        (Against.UNUSUAL, True),
        (Against.MUTE, True),
        (Against.EXPECTED, True),
    ]
    assert "the test is wrong" in pages.render("receipt.html", answer=found)
    at_first = {one.against for one in ask(receipt.read, "revenue", DAY, weeks.moments[0], facts=FACTS).against}
    assert not at_first & {Against.DECISION, Against.FAILED}


def test_that_its_publication_lacks_receipts_is_known_against_it(weeks: Weeks, ask: Ask) -> None:
    """What is shown then is what was told before."""
    publication = publications.in_force(weeks.ops, weeks.moments[1])
    with weeks.ops.cursor() as cursor:
        publications.add_note(cursor, publication.publication_id, LACKING)
    weeks.ops.commit()
    found = ask(receipt.read, "revenue", DAY, weeks.moments[1], facts=FACTS)
    assert LACKING in [one.says for one in found.against]


def test_why_it_differs_is_told_as_it_was_kept(weeks: Weeks, ask: Ask) -> None:
    shares = (Share("monstera", "<b>Monstera", Decimal(20), Decimal("41.10"), Decimal("21.10")),)
    meanwhile = (Meanwhile("stock", "Ivy was sold out from 10:40"),)
    why = Explanation(
        "revenue",
        DAY,
        DAY - timedelta(days=1),
        Decimal("41.10"),
        Decimal(20),
        (Split("product", "product", shares),),
        meanwhile,
    )
    found = replace(ask(receipt.read, "revenue", DAY, facts=FACTS), explanation=why)
    page = pages.render("receipt.html", answer=found)
    assert "Sun 22 Nov 2026</time>, $41.10 on <time" in page
    assert ": +$21.10. Each table below adds up to that." in page
    assert "&lt;b&gt;Monstera" in page
    assert page.index("At the same time:") < page.index("Ivy was sold out")
    assert "when this was found" not in page
    former = replace(found, explanation=replace(why, value=Decimal(31)))
    assert "It was told as $31.00 when this was found." in pages.render("receipt.html", answer=former)


def test_its_rows_add_up_without_what_is_personal(weeks: Weeks, ask: Ask) -> None:
    found = ask(receipt.read, "revenue", DAY, facts=FACTS)
    [rows] = found.rows
    assert (rows.count, rows.total, rows.columns) == (
        2,
        Decimal("41.10"),
        ("counts_for", "order_id", "ordered_at", "items_amount"),
    )
    assert "not what is told now" not in pages.render("receipt.html", answer=found)
    otherwise = ask(receipt.read, "revenue", DAY, facts=replace(FACTS, semantic_models=_counting("1")))
    assert "not what is told now" in pages.render("receipt.html", answer=otherwise)
    assert ask(receipt.read, "revenue", DAY, facts=replace(FACTS, semantic_models={})).rows == ()
    wrong = replace(FACTS, semantic_models=_counting("no_such_column"))
    [told] = ask(receipt.read, "revenue", DAY, facts=wrong).rows
    assert "no_such_column" in told.problem
    [told] = ask(receipt.read, "revenue", DAY, facts=replace(FACTS, semantic_models=_counting("email::numeric"))).rows
    assert told.problem.endswith('invalid input syntax for type numeric: "…"')
    [told] = ask(receipt.read, "revenue", DAY, facts=replace(FACTS, semantic_models=_counting("'NaN'"))).rows
    assert "no number" in told.problem


def _counting(expr: str) -> dict[str, Any]:
    [(unique_id, model)] = FACTS.semantic_models.items()
    return {unique_id: {**model, "measures": [{"name": "revenue", "agg": "sum", "expr": expr}]}}


def test_rows_are_downloaded_and_no_cell_is_a_formula(
    client: TestClient, weeks: Weeks, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = client.get(f"/figures/revenue/{DAY}/rows.csv")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="revenue-{DAY}.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["order_id"], row["counts_for"]) for row in rows] == [("'=1+1", "10.10"), ("two", "31.00")]
    assert "example.com" not in answer.text
    monkeypatch.setattr(rows_of_figure, "MOST", 1)
    cut = client.get(f"/figures/revenue/{DAY}/rows.csv")
    assert (cut.headers["X-Rows"], cut.headers["X-Rows-There-Are"], cut.text.count("\n")) == ("1", "2", 2)
    assert client.get(f"/figures/units/{DAY}/rows.csv").status_code == 404


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("-5", "-5"),
        (Decimal("-5"), Decimal("-5")),
        ("-5+cmd", "'-5+cmd"),
        ("@a", "'@a"),
        ("\ta", "'\ta"),
        ("\n=1", "'\n=1"),
        (None, None),
    ],
)
def test_a_cell(value: Any, told: Any) -> None:
    assert rows_of_figure.cell(value) == told


def test_the_page_and_its_json_are_asked_by_address(client: TestClient, weeks: Weeks) -> None:
    query = address.url("revenue", DAY, weeks.moments[0]).partition("?")[2]
    page = client.get(f"/figures/revenue/{DAY}?{query}").text
    assert "$31.00" in page
    assert f"/figures/revenue/{DAY}/rows.csv?side={Side.NUMERATOR}" in page
    asked = {"told_on": f"{weeks.moments[-1]:%Y-%m-%d}"}
    assert client.get(f"/api/figures/revenue/{DAY}", params=asked).json()["told"]["value"] == "41.1000"
    for nonsense in ("yesterday", "0001-01-01T00:00+14:00", "9999-12-31T23:59-14:00"):
        assert client.get(f"/figures/revenue/{DAY}", params={"told_on": nonsense}).status_code == 422
    for asked, why in ((f"/figures/none/{DAY}", "no metric none"), ("/figures/revenue/2020-01-01", "Nothing was ever")):
        answer = client.get(asked)
        assert (answer.status_code, why in answer.text) == (404, True)


def test_the_list_has_the_last_days_of_each_metric(weeks: Weeks, ask: Ask) -> None:
    found = ask(figures.read, facts=FACTS)
    assert (found.days[-1], len(found.days)) == (DAY, figures.DAYS)
    [revenue] = found.figures
    assert (revenue.metric.label, revenue.days[DAY].value) == ("Revenue", Decimal("41.1"))
    assert (revenue.days[DAY].moved, revenue.days[DAY].moved_as_usual) == (1, 0)
    [moved] = found.moved
    assert (moved.publication.run_id, moved.count) == ("second", 2)
    page = pages.render("figures.html", answer=found)
    assert pages.path("figures", "revenue", str(DAY)) in page
    cut = replace(found, moved=(replace(moved, moves=moved.moves[:1]),))
    assert "And 1 figure more." in pages.render("figures.html", answer=cut)
    told, _, usual = page.partition("1 figure moved by what usually comes late")
    assert ("+$10.10" in told, "Units, October 2026" in told, "Units, October 2026" in usual) == (True, False, True)


def test_metrics_of_the_same_label_are_listed_by_name() -> None:
    names = [f"m{number}" for number in range(8)]
    alike = {f"metric.p.{name}": {"name": name, "label": "Orders"} for name in names}
    assert list(figures.named_metrics(replace(FACTS, metrics=alike), {*names})) == names


def test_before_receipts_were_kept_it_says_so(ops: Connection, weeks: Weeks, ask: Ask) -> None:
    with ops.cursor() as cursor:
        cursor.execute("delete from ops.told where publication_id = (select min(publication_id) from ops.told)")
    ops.commit()
    found = ask(receipt.read, "revenue", DAY, weeks.moments[0], facts=FACTS)
    assert (found.told, found.before_receipts) == (None, True)
    assert "before receipts were kept" in pages.render("receipt.html", answer=found)
    with ops.cursor() as cursor:
        cursor.execute("delete from ops.told")
    ops.commit()
    with pytest.raises(LookupError, match="from the next publish on"):
        ask(receipt.read, "revenue", DAY, facts=FACTS)
    assert "from the next publish on" in pages.render("figures.html", answer=ask(figures.read, facts=FACTS))


def test_the_page_of_a_run_leads_to_what_its_message_told(weeks: Weeks, ask: Ask) -> None:
    with weeks.ops.cursor() as cursor:
        cursor.execute(
            "insert into ops.metrics (run_id, metric, value, day, publication_id)"
            " select run_id, 'revenue', 31, %s, publication_id from ops.publications where run_id = 'first'",
            (DAY,),
        )
    weeks.ops.commit()
    page = pages.render("run.html", answer=ask(run.read, "first", facts=FACTS))
    assert f"{pages.path('figures', 'revenue', str(DAY))}?told_on={pages.told_on(weeks.moments[0])}" in page
    assert "+$10.10" in pages.render("run.html", answer=ask(run.read, "second", facts=FACTS))
