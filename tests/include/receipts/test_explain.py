"""Why a figure differs: parts that add up to the last digit, and beside them what happened at the same time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg2.extensions import connection as Connection
from psycopg2.extras import execute_values

from include import raw
from include.dbt_project.manifest import Manifest
from include.receipts import explain, split
from include.receipts.explanation import Explanation, Meanwhile, Share
from include.receipts.split import Counts, Factor
from include.results import explained, publications, runs
from include.settings import warehouse_health
from include.warehouse import connect, roles
from include.words import Unit

FORMER, DAY = date(2026, 11, 21), date(2026, 11, 22)
PUBLICATION = 2

# Drawn from two integers each: `st.fractions` takes ten times as long.
amounts = st.builds(Fraction, st.integers(-(10**9), 10**9), st.integers(1, 10**4))
counts = st.builds(Fraction, st.integers(0, 10**5), st.integers(1, 100))
items = st.dictionaries(
    st.text(min_size=1, max_size=3), st.builds(Counts, amounts, amounts, counts, counts), min_size=1, max_size=30
)


def total(shares: tuple[Share, ...]) -> Fraction:
    return sum((Fraction(one.amount) for one in shares), start=Fraction(0))


LARGE, NONE = Fraction(229972663), Fraction(0)


@settings(max_examples=100, deadline=None)
@example({"0": Counts()}, [(NONE, LARGE), (NONE, LARGE), (LARGE, NONE)])  # parts of 29 digits
@given(items, st.lists(st.tuples(amounts, amounts), min_size=1, max_size=4))
def test_whatever_the_parts_are_they_add_up_to_the_difference_as_it_is_told(
    items: dict[str, Counts], factors: list[tuple[Fraction, Fraction]]
) -> None:
    whole = sum(items.values(), Counts())
    difference = split.rounded(whole.value) - split.rounded(whole.former)
    assert total(split.of_sum(items, difference)) == difference
    assert len(split.of_sum(items, difference)) <= split.MOST + 1
    if whole.former_below and whole.value_below:
        ratios = (whole.former / whole.former_below, whole.value / whole.value_below)
        difference = split.rounded(ratios[1]) - split.rounded(ratios[0])
        assert total(split.of_ratio(items, difference)) == difference
    former, value = Fraction(1), Fraction(1)
    for one in factors:
        former, value = former * one[0], value * one[1]
    difference = split.rounded(value) - split.rounded(former)
    shares = split.of_product([Factor(str(at), "", *one) for at, one in enumerate(factors)], difference)
    assert total(shares) == difference


@settings(max_examples=100, deadline=None)
@given(items)
def test_no_amount_is_further_from_what_its_item_adds_than_rounding_leaves(items: dict[str, Counts]) -> None:
    """So an amount is never there to make the sum right."""
    whole = sum(items.values(), Counts())
    for share in split.of_sum(items, split.rounded(whole.value) - split.rounded(whole.former)):
        if share.item:
            exact = items[share.item].value - items[share.item].former
            assert abs(Fraction(share.amount) - exact) < Fraction(split.MOST + 3, 10**split.DIGITS)


def test_a_ratio_moves_by_an_items_own_ratio_and_by_how_much_of_the_whole_it_is() -> None:
    """Half of ten sessions buy. Ten more of a place where none do: that place alone has changed anything."""
    places = {
        "Ohio": Counts(Fraction(5), Fraction(5), Fraction(5), Fraction(5)),
        "Utah": Counts(Fraction(0), Fraction(0), Fraction(5), Fraction(15)),
    }
    shares = split.of_ratio(places, Decimal("-0.2500"))
    # By its own ratio neither moves it: (1/4 - 1/2) (1 - 3/8), and (3/4 - 1/2) (0 - 3/8).
    assert {one.item: one.amount for one in shares} == {"Ohio": Decimal("-0.1562"), "Utah": Decimal("-0.0938")}
    assert {one.item: (one.former, one.value) for one in shares} == {"Ohio": (1, 1)} | {"Utah": (0, 0)}


def test_of_factors_none_goes_before_another() -> None:
    """1 * 1 * 1 -> 2 * 3 * 4, by hand: what each adds alone, after one of the others, and after both."""
    factors = [Factor(name, name, Fraction(1), Fraction(value)) for name, value in (("a", 2), ("b", 3), ("c", 4))]
    shares = split.of_product(factors, Decimal(23))
    assert {one.item: Fraction(one.amount) for one in shares} == {
        "a": (2 * 1 + 3 + 4 + 2 * 12) / Fraction(6),
        "b": (2 * 2 + 4 + 8 + 2 * 16) / Fraction(6),
        "c": (2 * 3 + 6 + 9 + 2 * 18) / Fraction(6),
    }


# A shop of our own, in which each kind of metric is explained.


def semantic(
    name: str, alias: str, day: str, entities: dict[str, str], **parts: list[dict[str, Any]]
) -> dict[str, Any]:
    """A semantic model; of each entity its type, by its name."""
    keys = [{"name": entity, "type": kind, "expr": f"{entity}_id"} for entity, kind in entities.items()]
    return {
        "name": name,
        "node_relation": {"alias": alias},
        "depends_on": {"nodes": [f"model.p.{alias}"]},
        "defaults": {"agg_time_dimension": day},
        "entities": keys,
        "dimensions": [{"name": day, "type": "time"}, *parts["dimensions"]],
        "measures": parts.get("measures", []),
    }


def by(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "categorical", **more}


def measure(name: str, expr: str, **meta: str) -> dict[str, Any]:
    return {"name": name, "agg": "sum", "expr": expr, "config": {"meta": meta}}


def metric(name: str, unit: str = "number", numerator: str = "", denominator: str = "", **meta: Any) -> dict[str, Any]:
    asked = {"numerator": {"name": numerator}, "denominator": {"name": denominator}}
    return {
        "name": name,
        "type": "ratio" if numerator else "simple",
        "type_params": asked if numerator else {"measure": {"name": name}},
        "config": {"meta": {"unit": unit, "in_message": 1, **meta}},
    }


SEMANTIC = [
    semantic(
        "orders",
        "fact_orders",
        "ordered_at",
        {"order": "primary"},
        dimensions=[by("state"), by("promo_id", label="Promotion", config={"meta": {"missing": "no promotion"}})],
        measures=[measure("orders", "1"), measure("revenue", "amount + order_id % 1")],
    ),
    semantic(
        "items",
        "fact_order_items",
        "ordered_at",
        {"item": "primary", "order": "foreign", "product": "foreign"},
        dimensions=[by("product_id", label="Product", config={"meta": {"called": "product__product_name"}})],
        measures=[measure("items_amount", "amount", adds_up_to="revenue")],
    ),
    semantic("products", "fact_product", "day", {"product": "primary"}, dimensions=[by("product_name")]),
    semantic("users", "dim_users", "day", {"user": "primary"}, dimensions=[by("place"), by("name")], measures=[]),
    semantic(
        "sessions",
        "sessions",
        "started_at",
        {"session": "primary", "user": "foreign"},
        dimensions=[],
        measures=[measure("sessions", "1"), measure("converted", "case when is_converted then 1 else 0 end")],
    ),
]
METRICS = [
    metric("orders"),
    metric(
        "revenue",
        "dollars",
        explained_by=["order__state", "order__promo_id", "item__product_id"],
        factors={"Sessions": "sessions", "Orders a session": "orders", "Order value": "revenue"},
    ),
    metric("sessions"),
    metric("converted"),
    metric("conversion", "percent", "converted", "sessions", explained_by=["user__place"]),
]


def model(name: str, *parents: str) -> dict[str, Any]:
    return {
        "resource_type": "model",
        "name": name,
        "alias": name,
        "config": {"materialized": "table"},
        "columns": {},
        "depends_on": {"nodes": list(parents)},
    }


SOURCE, TEST = "source.p.s.orders", "test.p.amounts"
FACTS = Manifest(
    {
        "model.p.fact_orders": model("fact_orders", SOURCE),
        "model.p.sessions": model("sessions"),
        "model.p.dim_users": {**model("dim_users"), "columns": {"name": {"config": {"meta": {"personal": True}}}}},
        TEST: {**model("amounts", "model.p.fact_orders"), "resource_type": "test"},
    },
    {SOURCE: {"schema": "raw", "name": "orders", "identifier": "orders", "config": {"event_time": "created_at"}}},
    metrics={f"metric.p.{one['name']}": one for one in METRICS},
    semantic_models={one["name"]: one for one in SEMANTIC},
)
STATES, PRODUCTS, PROMOS = ("Ohio", "Utah", "Iowa", ""), tuple("abcdefghijkl"), (None, "spring", "100%")

MARTS = """
create table analytics.fact_orders (
    order_id int, ordered_at timestamp, state text, promo_id text, amount numeric(16, 2)
);
create table analytics.fact_order_items (
    item_id int, order_id int, product_id text, ordered_at timestamp, amount numeric(16, 2)
);
create table analytics.sessions (session_id int, started_at timestamp, user_id int, is_converted boolean);
create table analytics.dim_users as
select id as user_id, (array['north', 'south', null])[1 + id %% 3] as place, 'Ann' as name
from generate_series(1, 40) as id;
create table analytics.fact_product as
select product_id, 'Plant ' || product_id as product_name from unnest(%(products)s) as product_id;
create table analytics.product_stock_outs (product_id text, out_from timestamp, out_until timestamp);
"""
DAILY_METRICS = """
create table analytics.daily_metrics as
select ordered_at::date as day, 'revenue' as metric, sum(amount)::numeric(16, 4) as value
from analytics.fact_orders group by 1
union all
select ordered_at::date, 'orders', count(*) from analytics.fact_orders group by 1
union all
select started_at::date, 'sessions', count(*) from analytics.sessions group by 1
union all
select started_at::date, 'conversion', avg(is_converted::int)::numeric(16, 4) from analytics.sessions group by 1
"""


@pytest.fixture
def shop(db: Connection) -> Connection:
    """Nine days of random orders and sessions, published by a run; a session of each is of nobody."""
    random = Random(5)  # noqa: S311 - a seed makes the same shop each time
    for run_id in ("former", "run"):
        runs.begin(db, run_id, "release")
    with db.cursor() as cursor:
        cursor.execute(MARTS, {"products": list(PRODUCTS)})
        orders, items, sessions = [], [], []
        for day in (FORMER - timedelta(days=back) for back in range(-1, 8)):
            at = datetime.combine(day, datetime.min.time()) + timedelta(hours=9)
            for _ in range(random.randint(20, 40)):
                lines = [(one, Decimal(random.randint(1, 9999)) / 100) for one in random.sample(PRODUCTS, 3)]
                order = len(orders)
                orders.append((order, at, random.choice(STATES), random.choice(PROMOS), sum(line for _, line in lines)))
                items += [(len(items) + nth, order, *line[:1], at, line[1]) for nth, line in enumerate(lines)]
            sessions += [
                (0, at, random.choice([None, *range(1, 41)]), random.random() < 0.4)
                for _ in range(random.randint(50, 90))
            ]
        for table, rows in (("fact_orders", orders), ("fact_order_items", items), ("sessions", sessions)):
            execute_values(cursor, f"insert into analytics.{table} values %s", rows)
        cursor.execute(DAILY_METRICS)
        for run_id, day in (("former", 20), ("run", 23)):
            publications.note(cursor, run_id, "analytics", as_of=None, decision=None, notes=[])
            at = datetime(2026, 11, day, 6, tzinfo=UTC)
            cursor.execute(
                "update ops.publications set published_at = %(at)s, data_as_of = %(at)s where run_id = %(run)s",
                {"at": at, "run": run_id},
            )
    return db


def why(shop: Connection, metric: str, day: date = DAY, facts: Manifest = FACTS) -> Explanation:
    found = explain.explain(shop, facts, metric, day, day - timedelta(days=1))
    assert found
    return found


def do(shop: Connection, statement: str, *parameters: object) -> list[tuple]:
    with shop.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.db
def test_on_each_day_every_split_adds_up_to_what_people_query_to_the_last_digit(shop: Connection) -> None:
    wanted = {
        "revenue": ["order__state", "order__promo_id", "item__product_id", "factors"],
        "conversion": ["user__place"],
    }
    for back in range(7):
        for name, splits in wanted.items():
            day = DAY - timedelta(days=back)
            found = why(shop, name, day)
            assert [one.dimension for one in found.splits] == splits
            told = dict(do(shop, "select day, value from analytics.daily_metrics where metric = %s", name))
            assert (found.value, found.former) == (told[day], told[day - timedelta(days=1)])
            assert {total(one.shares) for one in found.splits} == {found.difference}


@pytest.mark.db
def test_items_are_called_what_people_call_them(shop: Connection) -> None:
    states, promos, products, factors = why(shop, "revenue").splits
    assert {share.label for share in states.shares} == {"Ohio", "Utah", "Iowa", "none"}
    assert (promos.label, {one.label for one in promos.shares}) == ("Promotion", {"no promotion", "spring", "100%"})
    assert {one.label for one in products.shares} <= {f"Plant {one}" for one in PRODUCTS} | {"the rest"}
    assert (len(products.shares), products.shares[-1].item) == (9, "")
    assert {one.label for one in factors.shares} == {"Sessions", "Orders a session", "Order value"}
    sums = dict(
        do(shop, "select state, sum(amount) from analytics.fact_orders where ordered_at::date = %s group by 1", DAY)
    )
    assert {one.item: one.value for one in states.shares if one.item != "none"} == {
        state: amount for state, amount in sums.items() if state
    }


@pytest.mark.db
def test_rows_that_do_not_make_the_figure_up_explain_nothing_of_it(shop: Connection) -> None:
    """Some items are lacking: no product can be said to have sold less."""
    do(shop, "delete from analytics.fact_order_items where item_id %% 7 = 0 and ordered_at::date = %s", DAY)
    assert [one.dimension for one in why(shop, "revenue").splits] == ["order__state", "order__promo_id", "factors"]
    do(shop, "update analytics.daily_metrics set value = value + 0.01 where metric = 'revenue' and day = %s", FORMER)
    assert explain.explain(shop, FACTS, "revenue", DAY, FORMER) is None


@pytest.mark.db
def test_who_only_reads_is_told_the_same(shop: Connection) -> None:
    with connect("test") as connection:
        raw.create(connection.cursor())
        roles.ensure(connection, login=True)
    told = why(shop, "revenue")
    [product, *_] = [one.item for one in told.splits[2].shares if one.item]
    do(shop, "insert into analytics.product_stock_outs values (%s, '2026-11-22 10:40', null)", product)
    with connect("test", warehouse_health()) as reader:
        found = why(reader, "revenue")
    assert found == why(shop, "revenue")
    assert [one.kind for one in found.meanwhile] == ["stock-out"]


@pytest.mark.db
def test_what_happened_on_the_day_is_told_as_at_the_same_time_and_nowhere_as_a_part(shop: Connection) -> None:
    do(shop, "insert into ops.publication_loads values (2, 'orders', '2026-11-23 05:30+00', 3)")
    before = why(shop, "revenue")
    assert before.meanwhile == ()
    products = [one.item for one in before.splits[2].shares if one.item]
    for product, out_from, out_until in (
        (products[0], "2026-11-22 10:40", None),
        (products[1], "2026-11-21 08:00", "2026-11-22 18:00"),
        (products[2], "2026-11-01 08:00", None),  # on both days alike
        (products[3], "2026-11-23 05:30", None),  # as the load shows that came after the day
        (products[4], "2026-11-23 05:31", None),  # afterwards
    ):
        do(shop, "insert into analytics.product_stock_outs values (%s, %s, %s)", product, out_from, out_until)
    do(
        shop,
        """
        update ops.publication_loads set loaded_at = '2026-11-22 17:05+00';
        insert into ops.publication_loads values (2, 'products', '2026-11-23 05:30+00', 3)
        """,
    )
    do(
        shop,
        """
        insert into ops.node_results (run_id, task_id, attempt, unique_id, resource_type, name, status, seconds)
        values ('run', 'test', 1, %s, 'test', 'amounts', 'warn', 0)
        """,
        TEST,
    )
    do(
        shop,
        """
        insert into ops.unusual (run_id, unique_id, measure, day, value, expected, least, most, score, since)
        values ('run', %s, 'rows', %s, 3, 20, 10, 30, 9, %s)
        """,
        SOURCE,
        DAY,
        DAY,
    )
    do(
        shop,
        """
        insert into ops.moves (publication_id, metric, period, starts, told, value, usual, adds_up, parts, causes)
        values (2, 'revenue', 'day', %s, 1234.5, 1300, false, false, '[]', '[]')
        """,
        FORMER,
    )
    after = why(shop, "revenue")
    assert replace(after, meanwhile=()) == before
    assert set(after.meanwhile) == {
        Meanwhile("stock-out", "sold out at 10:40", "item__product_id", products[0]),
        Meanwhile("stock-out", "sold out on 21 Nov at 08:00, back at 18:00", "item__product_id", products[1]),
        Meanwhile("stock-out", "sold out on 23 Nov at 05:30", "item__product_id", products[3]),
        Meanwhile("load", "raw.orders was last loaded at 17:05, before the day was over"),
        Meanwhile("test", "test amounts of fact_orders warned"),
        Meanwhile("unusual", "rows of raw.orders on 22 Nov: 3, usually 10 to 30"),
        Meanwhile("moved", "21 Nov had been told as $1,234"),
    }


@pytest.mark.db
def test_a_promotion_that_begins_or_ends_is_told_by_the_days_before(shop: Connection) -> None:
    do(shop, "update analytics.fact_orders set promo_id = 'summer' where promo_id = 'spring' and ordered_at >= %s", DAY)
    assert set(why(shop, "revenue").meanwhile) == {
        Meanwhile("began", "none in the 7 days before", "order__promo_id", "summer"),
        Meanwhile("ended", "none, after some on each of the 7 days before", "order__promo_id", "spring"),
    }


@pytest.mark.db
def test_what_is_kept_comes_back_to_the_last_digit(shop: Connection) -> None:
    wanted = [replace(why(shop, name), meanwhile=(Meanwhile("load", "late"),)) for name in ("revenue", "conversion")]
    for _ in range(2):  # a report that is tried again
        explain.keep(shop, PUBLICATION, wanted)
    assert explain.of_publication(shop, PUBLICATION) == (wanted[1], wanted[0])


@pytest.mark.db
def test_the_message_explains_what_differs_by_a_tenth_from_the_day_that_it_compares_with(shop: Connection) -> None:
    """Revenue is compared with that of a Thursday, as the former run told it; conversion is as the day before."""
    thursday = date(2026, 11, 19)
    do(
        shop,
        """
        insert into ops.metrics (run_id, metric, value, day) values ('former', 'revenue', 1, %s);
        update analytics.fact_orders set amount = amount * 3 where ordered_at::date = %s;
        update analytics.daily_metrics set value = value * 3 where metric = 'revenue' and day = %s;
        update analytics.daily_metrics set value = 0.5 where metric = 'conversion';
        """,
        *(thursday, DAY, DAY),
    )
    explained.note("former", FACTS)  # people query another run's marts
    assert explain.of_publication(shop, PUBLICATION) == ()
    explained.note("run", FACTS)
    [told] = explain.of_publication(shop, PUBLICATION)
    assert (told.metric, told.day, told.former_day) == ("revenue", DAY, thursday)
    assert {one.dimension for one in told.splits} == {"order__state", "order__promo_id", "factors"}
    # Told for the same day a second time, it is compared with nothing else.
    do(shop, "update ops.metrics set day = %s; delete from ops.explanations", DAY)
    explained.note("run", FACTS)
    assert explain.of_publication(shop, PUBLICATION) == ()


@pytest.mark.parametrize(
    ("former", "value", "unit", "much"),
    [
        ("100", "109.99", Unit.DOLLARS, False),
        ("100", "90", Unit.NUMBER, True),
        ("0.62", "0.6299", Unit.PERCENT, False),
        ("0.62", "0.61", Unit.PERCENT, True),
        ("0", "0", Unit.NUMBER, False),
    ],
)
def test_a_tenth_is_much_and_so_is_a_point(former: str, value: str, unit: Unit, much: bool) -> None:
    assert explained.differs_much(Decimal(former), Decimal(value), unit) is much


@pytest.mark.db
def test_a_project_that_says_nothing_of_its_rows_has_no_explanation(shop: Connection) -> None:
    """Nor has one whose tables are made otherwise; and neither loses its message."""
    day = (DAY, FORMER)
    assert explain.explain(shop, replace(FACTS, semantic_models={}), "revenue", *day) is None
    assert explain.explain(shop, Manifest({}, {}), "revenue", *day) is None
    do(shop, "drop table analytics.fact_orders, analytics.fact_order_items, analytics.sessions")
    assert explain.explain(shop, FACTS, "revenue", *day) is None
    do(shop, "drop table analytics.daily_metrics")
    assert explain.explain(shop, FACTS, "revenue", *day) is None
    explained.note("run", FACTS)
    assert do(shop, "select count(*) from ops.explanations") == [(0,)]
