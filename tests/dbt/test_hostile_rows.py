"""What is hostile in raw is published right, or not at all and with a message that names its table and column.

Each case spoils one column or table of a sound shop (`tests/dbt/hostile.py`). Then the SQL that dbt makes of the tests
and models is run in the order of a day, as a look at all of history: that an ordinary day finds and builds the same is
what `test_new_rows.py` and `test_incremental.py` hold. What would be published is compared with a recount of raw that
knows nothing of the models. A few cases go through a whole run, up to its message.

`CASE=products.price.enormous.1` in the environment plays one case, by the name that a finding has.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import psycopg2
import pytest

from include.publish.publish import publish_run
from include.raw.load import LoadError
from include.results import failures, nodes
from include.results.failures import RunContext
from include.results.nodes import NodeResult
from include.results.record import failing_rows, record
from include.results.summary import gather
from include.slack import render
from include.warehouse import connect
from tests.dbt.conftest import KeptShop
from tests.dbt.days import Project
from tests.dbt.edits import Tables, deliver, replica
from tests.dbt.hostile import WHOLE, Case, cases
from tests.dbt.recount import SIDES, Recount, days, rounded
from tests.dbt.test_publishing import Runs

pytestmark = [pytest.mark.db, pytest.mark.torture]

SOUND = "a_sound_shop"
AMOUNTS = {"order_cost", "shipping_cost", "order_total"}
ASKED = [Case.named(name) for name in os.environ.get("CASE", "").split(",") if name]
CASES = ASKED or list(cases())
COLUMNS = list(dict.fromkeys((case.table, case.column) for case in CASES))
# Through a whole run: each is published with odd values that Python reads, or refused by another kind of test.
IN_FULL = ASKED or [
    Case.named(name)
    for name in (
        "products.name.slack.1",
        "products.name.a megabyte.1",
        "orders.tracking_id.control characters.1",
        "products.price.enormous.1",
        "orders.estimated_delivery_at.infinite.1",
        "events.session_id.too long for an index.1",
        "events.created_at.12021.1",
        "users.*.one row left.1",
    )
]


def _differ(published: str, counted: str) -> str:
    return f"(({published}) except all ({counted})) union all (({counted}) except all ({published}))"


# What people read of each product, user, order and session, against a count of raw.
RECOUNTS = {
    "products": _differ(
        "select product_id, product_name, price::numeric, inventory, units, orders, buyers from reference.fact_product",
        """
        select products.product_id, name, round(price, 2), inventory, coalesce(sum(quantity), 0)::bigint,
            count(items.order_id), count(distinct orders.user_id)
        from raw.products left join raw.order_items as items using (product_id)
        left join raw.orders on orders.order_id = items.order_id
        group by 1, 2, 3, 4
        """,
    ),
    "views of products": _differ(
        "select product_id, sessions_viewed from reference.fact_product",
        """
        select products.product_id, count(distinct session_id)
        from raw.products
        left join raw.events on events.product_id = products.product_id and event_type = 'page_view'
        group by 1
        """,
    ),
    "users": _differ(
        "select user_id, email, zipcode, orders, lifetime_value::numeric from reference.dim_users",
        """
        select users.user_id, email, zipcode, count(order_id), coalesce(sum(round(order_total, 2)), 0)
        from raw.users left join raw.addresses using (address_id)
        left join raw.orders on orders.user_id = users.user_id
        group by 1, 2, 3
        """,
    ),
    "orders": _differ(
        """
        select order_id, user_id, promo_id, status, order_cost::numeric, shipping_cost::numeric, order_total::numeric,
            discount::numeric, shipping_state, tracking_id
        from reference.fact_orders
        """,
        """
        select order_id, user_id, promo_id, orders.status, round(order_cost, 2), round(shipping_cost, 2),
            round(order_total, 2), coalesce(round(discount, 2), 0), state, tracking_id
        from raw.orders left join raw.promos using (promo_id) left join raw.addresses using (address_id)
        """,
    ),
    "sessions": _differ(
        "select session_id, page_views, add_to_carts, checkouts, packages_shipped from reference.int_user_sessions",
        """
        select session_id, count(*) filter (where event_type = 'page_view'),
            count(*) filter (where event_type = 'add_to_cart'), count(*) filter (where event_type = 'checkout'),
            count(*) filter (where event_type = 'package_shipped')
        from raw.events group by 1
        """,
    ),
}


@dataclass(frozen=True)
class Judged:
    """What became of a case, what a message would say of it, and why that is a finding; "" if it is none."""

    published: bool
    told: tuple[str, ...]
    finding: str = ""

    def __str__(self) -> str:
        return "\n  ".join([self.finding or ("published" if self.published else "not published"), *self.told])


class Nights(Runs):
    """A sound shop, and what becomes of it in a night."""

    def __init__(self, shop: KeptShop, project: Project, folder: Path) -> None:
        super().__init__(shop, project, seed=2)
        self.folder = folder
        self.fill_both_buffers("everything")
        # So that each item of the sound shop has its price, by which the recount goes.
        assert self.whole()
        self.publishes()
        self.begin()
        shop.query("update ops.buffers set scan = true where schema_oid = 'analytics_next'::regnamespace")
        done = project.results("compile", "--exclude", "test_type:unit")
        self.tests = {
            one.node.unique_id: one.node.compiled_code.replace('"analytics_next"', '"reference"')
            for one in done
            if one.node.unique_id in self.facts.nodes and one.node.resource_type == "test"
        }
        of_sources = project.names("--selector", "sources", "--resource-type", "test")
        self.of_sources = {test for test in self.tests if self.facts.nodes[test]["name"] in of_sources}
        self.marts = {
            name: sql.replace('"analytics_next"', '"reference"') for name, sql in project.full_build().items()
        }
        self.prices: dict[tuple[str, date], Decimal] = {
            (product, day): price
            for product, day, price in shop.query(
                "select distinct product_id, ordered_at::date, unit_price from analytics.fact_order_items"
            )
        }
        self.sound = replica(shop.connection)
        shop.keep(SOUND)

    def spoil(self, case: Case) -> Tables:
        """The sound shop, and then the case; returns what raw holds, as Postgres writes it."""
        self.shop.go_back(SOUND)
        tables = {name: [dict(row) for row in rows] for name, rows in self.sound.items()}
        case.spoil(tables)
        deliver(self.shop.connection, tables)
        return replica(self.shop.connection)

    def judge(self, case: Case) -> Judged:
        """Play a case in the order of a day: the tests of sources, the models, their tests."""
        try:
            tables = self.spoil(case)
        except LoadError as refused:
            return Judged(False, (str(refused),), "" if f"raw.{case.table} " in str(refused) else "an unclear refusal")
        found = self.find(self.of_sources)
        if self.blocks(found):
            return self.refused(case, found)
        try:
            self.build_marts()
        except psycopg2.Error as error:
            return Judged(False, (str(error), *self.told(found)), "a model breaks off")
        found += self.find(self.tests.keys() - self.of_sources)
        if self.blocks(found):
            return self.refused(case, found)
        wrong = self.recount(tables)
        return Judged(True, (*wrong, *self.told(found)), "published, and wrong" if wrong else "")

    @staticmethod
    def blocks(found: Iterable[NodeResult]) -> bool:
        return any(one.status != "warn" for one in found)

    def refused(self, case: Case, found: list[NodeResult]) -> Judged:
        """Whether what is told names the table, or a model of it, and the column."""
        told = self.told([one for one in found if one.status != "warn"])
        if any(one.status == "error" for one in found):
            return Judged(False, told, "a test breaks off")
        names = {case.table.rstrip("s")} if case.column == WHOLE else case.columns
        named = any(name in line for line in told for name in names)
        return Judged(False, told, "" if named else "refused without a word of the column")

    def find(self, tests: Iterable[str]) -> list[NodeResult]:
        """What the tests find, as tasks keep it."""
        found = []
        for test in sorted(tests):
            node = self.facts.nodes[test]
            severity = node["config"]["severity"].lower()
            one = NodeResult(test, "test", node["name"], "error", severity, None, None, 0, None, self.tests[test])
            try:
                count = self.shop.value(f"select count(*) from ({one.compiled_sql}) as found")
                if not count:
                    continue
                one = replace(one, status="warn" if severity == "warn" else "fail", failures=count)
                if not self.facts.tests_personal(test):
                    rows = failing_rows(self.shop.connection, one, self.facts.personal_columns)
                    one = replace(one, failing_rows=rows)
            except psycopg2.Error as error:
                one = replace(one, message=str(error))
            found.append(one)
        return found

    def told(self, found: list[NodeResult]) -> tuple[str, ...]:
        """What a message says of them, a line each."""
        roots = failures.warned(found, self.facts, RunContext(None, {}, {}))
        return tuple(
            f"{root.name}.{one.column or ''}: {one.measured}; {one.wanted} {[*one.rows][:1]}"
            for root in roots
            for one in root.failures
        )

    def build_marts(self) -> None:
        """All marts anew, in a schema of their own, with their indexes; and the history that they read."""
        self.project.untested("build", "--select", "path:snapshots")
        self.shop.query("drop schema if exists reference cascade; create schema reference")
        for name, statement in self.marts.items():
            self.shop.query(f"create table reference.{name} (like analytics.{name} including all)")
            columns = self.shop.value(
                "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute"
                f" where attrelid = 'reference.{name}'::regclass and attnum > 0"
            )
            self.shop.query(f"insert into reference.{name} select {columns} from ({statement}) as built")

    def recount(self, tables: Tables, schema: str = "reference") -> list[str]:
        """What of the built marts a count of raw refutes."""
        csv.field_size_limit(sys.maxsize)  # a text of a megabyte is read as well
        for name, rows in tables.items():
            with (self.folder / f"{name}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, self.sound[name][0])
                writer.writeheader()
                # In whole cents, as they are published: that they were not is a warning.
                writer.writerows(
                    row | {name: rounded(Decimal(row[name]), "0.01") for name in AMOUNTS & row.keys()} for row in rows
                )
        now = {row["product_id"]: rounded(Decimal(str(row["price"])), "0.01") for row in tables["products"]}
        counted = Recount(self.folder, lambda product, day: self.prices.get((product, day), now.get(product)))
        table = {
            (metric, day): tuple(numbers)
            for metric, day, *numbers in self.shop.query(
                f"select metric, day, value, numerator, denominator from {schema}.daily_metrics"
            )
        }
        wrong = []
        for metric in SIDES:
            for day in days(counted.first_day, counted.last_day):
                this = counted.of(metric, day, day)
                told = table.get((metric, day))
                if told != (this.value, this.numerator, this.denominator):
                    wrong.append(f"{metric} of {day} is {told} and not {this}")
        for what, statement in RECOUNTS.items():
            if rows := self.shop.query(f"{statement.replace('reference.', f'{schema}.')} limit 2"):
                wrong.append(f"{what}: {rows}")
        return wrong

    def step(self, *command: str) -> bool:
        """As a task: what a failed test found is kept as well."""
        results = nodes.from_dbt(self.project.results(*command, "--exclude-resource-type", "unit_test"))
        record(self.run_id, command[-1], 1, results, self.facts)
        return not {result.status for result in results} & {"fail", "error", "skipped"}

    def message(self, *, published: bool) -> str:
        """What the run's report says."""
        with connect() as connection:
            summary = gather(connection, self.run_id, "http://run", run_failed=not published, facts=self.facts)
        return render.render(summary).body


@pytest.fixture(scope="module")
def nights(shop: KeptShop, projects: Project, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """The sound shop."""
    return Nights(shop, projects, tmp_path_factory.mktemp("raw"))


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_whatever_is_in_a_column_is_published_right_or_named(nights: Nights, table: str, column: str):
    judged = {str(case): nights.judge(case) for case in CASES if (case.table, case.column) == (table, column)}
    if notes := os.environ.get("NOTES"):
        with Path(notes).open("a") as file:
            file.writelines(f"{name}: {one}\n" for name, one in judged.items())
    assert {name: str(one) for name, one in judged.items() if one.finding} == {}


@pytest.mark.parametrize("case", IN_FULL, ids=str)
def test_a_whole_run_of_it_says_the_same(nights: Nights, case: Case):
    judged = nights.judge(case)
    tables = nights.spoil(case)
    published = nights.whole()
    if published:
        assert publish_run(nights.run_id, nights.facts)
        assert nights.recount(tables, "analytics") == []
        assert nights.differences() == {}
    else:
        nights.is_refused("no passing result|not as this run built them")
    message = nights.message(published=published)
    assert published == judged.published
    assert published or (case.table in message and case.column.strip(WHOLE) in message)
