"""Tests that look at what is new find whatever they would find in all of history: no fault falls between the two.

Days are played and spoilt at random (`tests/dbt/edits.py`, `tests/dbt/faults.py`), loaded by the loaders' own code and
built by dbt on what an earlier run published. Then the same state is looked at twice: by `dbt test`, as on an ordinary
day, and by the SQL that dbt makes of the tests for a look at all of history. `SEEDS=100` in the environment plays a
hundred sequences instead of one.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import pytest

from include.answers import answers
from include.answers.answer import About, Kind
from include.daily import buffers
from include.dbt_project.manifest import Manifest
from include.publish.publish import publish_run
from include.warehouse import connect
from tests.dbt.conftest import Shop
from tests.dbt.days import NOTHING_TO_PROVE, Days, Project
from tests.dbt.edits import EDITS, Edit, Tables, deliver, replica
from tests.dbt.faults import FAULTS, a_cost_is_not_that_of_the_items, a_row_is_doubled, a_total_does_not_add_up

pytestmark = pytest.mark.db

SEEDS = range(1, int(os.environ.get("SEEDS", "1")) + 1)
ALL = ("path:models", "path:snapshots")
ORDERS = ("+int_orders", "path:snapshots")
SOURCES = ("--selector", "sources")
EVENTS = ("--select", "source:greenery.events")
THIS_BUFFER = "schema_oid = 'analytics_next'::regnamespace"

# By test, what it found: a row by its first column, a key or the name of a figure; rows without one by their number.
Found = dict[str, set[object]]


class Looks(Days):
    """Days on which every model is built and looked at; `errors` are the failed tests of the last look."""

    errors: set[str]
    # By what was built and which tests were selected, the SQL of each test for a look at all of history.
    whole_looks: ClassVar[dict[tuple[str, ...], dict[str, str]]] = {}
    all_of_history: dict[str, str]

    def first_runs(self, *select: str) -> None:
        """Fill both buffers, and continue one, with days on which nothing is wrong."""

        def play() -> None:
            for rebuilt in (True, True, False):
                assert self.begin() is rebuilt
                assert self.scans() is rebuilt
                self.build(*(select or ALL))
                self.publish()
                self.load_a_day()

        self.state = "first_runs_" + "_".join(re.findall(r"\w+", " ".join(select)))
        self.come_to(self.state, 3, play)

    def publish(self) -> None:
        """Publish, whether or not tests ran."""
        publish_run(f"run {self.runs}", NOTHING_TO_PROVE)

    def spoil(self, *faults: Edit) -> Tables:
        """Something goes wrong overnight; returns what the shop held before."""
        sound = replica(self.shop.connection)
        tables = replica(self.shop.connection)
        for fault in faults:
            fault(tables, self.random)
        deliver(self.shop.connection, tables)
        return sound

    def scans(self) -> bool:
        """Whether the run that began last is to look at all of history, with all of its tests."""
        everything = "scan or scanned_at <= since - interval '7 days'"
        return self.shop.value(f"select {everything} from ops.buffers where {THIS_BUFFER}") is True

    def look(self, *select: str) -> Found:
        """Run tests, by default all."""
        done = self.project.results("test", *select, "--exclude-resource-type", "unit_test")
        by_status = {status: {r.node.name for r in done if r.status == status} for status in ("pass", "warn", "fail")}
        assert sum(map(len, by_status.values())) == len(done), [r.message for r in done if r.status == "error"]
        self.errors = by_status["fail"]
        return self.found({result.node.name: result.node.compiled_code for result in done if result.status != "pass"})

    def look_at_all(self, *select: str) -> Found:
        """The same in all of history, by the SQL that dbt makes of the tests: from day to day that stays the same.

        Unlike that of an ordinary day, which tells from where on rows are new.
        """
        statements = self.whole_looks.get((self.state, *select))
        if statements is None:
            self.shop.query(f"update ops.buffers set scan = true where {THIS_BUFFER}")
            done = self.project.results("test", *select, "--exclude-resource-type", "unit_test")
            self.shop.query(f"update ops.buffers set scan = false where {THIS_BUFFER}")
            statements = {result.node.name: result.node.compiled_code for result in done}
            self.whole_looks[self.state, *select] = statements
        return self.found(statements)

    def sources_tests(self, *, scan: bool = False) -> dict[str, str]:
        """By test of the events in raw, its SQL for the run that began last, or for a look at all of history."""
        self.shop.query(f"update ops.buffers set scan = {scan} where {THIS_BUFFER}")
        done = self.project.results("compile", *EVENTS)
        return {one.node.name: one.node.compiled_code for one in done if one.node.resource_type == "test"}

    def reading_all(self, at: datetime, *, publish: bool = True) -> set[str]:
        """The tests of events that read all of history in a run that begins at a time."""
        assert self.begin() is False
        self.shop.query(f"update ops.buffers set since = %s where {THIS_BUFFER}", at)
        read = self.sources_tests().items() & self.all_of_history.items()
        if publish:
            with connect() as connection, connection.cursor() as cursor:
                buffers.published(cursor, buffers.BUILT, proven=True)
        # Else the next run would take it that the clock was set back.
        self.shop.query(f"update ops.buffers set since = least(since, clock_timestamp()) where {THIS_BUFFER}")
        return {name for name, _ in read}

    def first_week(self) -> datetime:
        """Both buffers are there and sound; returns from when on each test of events has yet to read all of history."""
        self.first_runs("+int_events")
        began = self.shop.value(f"select scanned_at from ops.buffers where {THIS_BUFFER}")
        whole, ordinary = self.sources_tests(scan=True), self.sources_tests()
        self.all_of_history = {name: statement for name, statement in whole.items() if statement != ordinary[name]}
        return began

    def found(self, statements: dict[str, str]) -> Found:
        """What tests find, by their SQL."""
        found: Found = {}
        for name, statement in statements.items():
            firsts = [row[0] for row in self.shop.query(statement)]
            if firsts:
                found[name] = {first for first in firsts if first is not None}
            if None in firsts:
                found[name].add(firsts.count(None))
        return found

    def compare(self, *select: str) -> Found:
        """Look at the same state in both ways; returns what is found, once the first look has missed nothing.

        But for sums over keys that are broken. A row without a key is among no changed ones; of a key that is there
        twice one row may look as it did before, so that no change of its product and day is seen. A test of keys tells
        of either.
        """
        assert not self.scans()
        new, everything = self.look(*select), self.look_at_all(*select)
        missed = {
            name: rows - new.get(name, set()) for name, rows in everything.items() if not rows <= new.get(name, set())
        }
        if any("not_null" in name or "unique" in name for name in self.errors):
            missed = {name: rows for name, rows in missed.items() if not name.endswith(("add_up", "adds_up"))}
        assert missed == {}
        return everything


@pytest.fixture
def days(request: pytest.FixtureRequest, shop: Shop, projects: Project) -> Looks:
    """A warehouse on its first day."""
    return Looks(shop, projects, seed=getattr(request, "param", 1))


@pytest.mark.parametrize("days", SEEDS, indirect=True)
def test_no_fault_in_raw_falls_between_what_is_new_and_all_of_history(days: Looks):
    days.first_runs()
    days.spoil(*days.random.choices((*FAULTS, *FAULTS, *EDITS), k=days.random.randint(1, 8)))
    assert days.begin() is False
    days.build(*ALL)
    days.compare()


def test_no_fault_hides_another(days: Looks):
    """All of them in one night; most tests compare key by key what they find."""
    days.first_runs()
    days.spoil(*FAULTS, *[a_row_is_doubled] * 12)
    assert days.begin() is False
    days.build(*ALL)
    days.compare()


@pytest.mark.parametrize("days", SEEDS, indirect=True)
def test_no_fault_of_a_model_falls_between_what_is_new_and_all_of_history(days: Looks):
    """A model that is wrong for some keys only: one row too many or too few there, or another figure."""
    days.first_runs()
    days.edit(days.random.randint(0, 2))
    assert days.begin() is False
    nodes = days.project.manifest.nodes.values()
    marts = {node.name: node for node in nodes if node.resource_type == "model" and node.schema == "analytics_next"}
    name = days.random.choice(sorted(marts))
    days.build(f"+{name}")
    falsify(days, name, marts[name].config.meta)
    days.build(*ALL, "--exclude", f"+{name}")
    days.compare()


def test_a_parent_that_lost_a_row_while_it_was_built_is_missed(days: Looks):
    """Though none was deleted in raw, and no child changed."""
    days.first_runs()
    days.begin()
    days.build(*ALL)
    days.shop.query(
        "delete from analytics_next.fact_product where product_id = (select min(product_id) from raw.products)"
    )
    assert "relationships_fact_order_items_product_id__product_id__ref_fact_product_" in days.compare(
        "--select", "fact_product"
    )
    # Built in full, so that nobody lists what it had.
    days.shop.query("update ops.buffer_models set rebuilt = true where unique_id = 'model.greenery.dim_users'")
    days.shop.query("delete from analytics_next.dim_users where user_id = (select min(user_id) from raw.orders)")
    assert "relationships_fact_orders_user_id__user_id__ref_dim_users_" in days.compare("--select", "dim_users")


def falsify(days: Looks, name: str, meta: dict[str, str]) -> None:
    """One of the rows that a run built: all of a table, of an incremental model those of changed keys."""
    concerned = f"where {meta['key']} in (select {meta['key']} from staging.{name}__changes)" if meta else ""
    rows = days.shop.query(f"select ctid::text from analytics_next.{name} {concerned} order by 1")
    if not rows:
        return
    (place,) = days.random.choice(rows)
    figures = days.shop.query(
        "select column_name from information_schema.columns where table_schema = 'analytics_next' and table_name = %s"
        " and data_type in ('bigint', 'integer', 'numeric') order by 1",
        name,
    )
    changes = [
        f"delete from analytics_next.{name}",
        f"insert into analytics_next.{name} select * from analytics_next.{name}",
        *(f"update analytics_next.{name} set {figure} = {figure} + 1" for (figure,) in figures),
    ]
    days.shop.query(f"{days.random.choice(changes)} where ctid = '{place}'")


def test_what_sources_lack_is_found_until_it_is_mended_whenever_it_was_loaded(days: Looks):
    def an_event_is_of_an_unknown_kind(tables: Tables, random: object) -> None:
        tables["events"][0]["event_type"] = "swipe"

    unknown = {
        "source_accepted_values_greenery_events_event_type__page_view__add_to_cart__checkout__package_shipped": {
            "swipe"
        }
    }
    days.first_runs("+int_events")
    days.begin()
    assert days.compare(*EVENTS) == {}
    sound = days.spoil(an_event_is_of_an_unknown_kind)  # after this run has tested the sources
    days.build("+int_events")
    days.publish()

    for tests in SOURCES, EVENTS:  # the next run stops there, and so does the one after it
        assert days.begin() is False
        assert days.compare(*tests) == unknown
        days.load_a_day()
    deliver(days.shop.connection, sound)
    for _ in range(2):
        assert days.begin() is False
        assert days.compare(*EVENTS) == {}
        days.build("+int_events")
        days.publish()


def test_what_was_stamped_before_it_could_be_seen_is_looked_at(days: Looks):
    days.first_runs("+int_events")
    days.overlap = timedelta(minutes=1)
    days.load_a_day()
    days.begin()
    days.build("+int_events")
    stamp = days.shop.value("select max(_loaded_at) from raw.events")
    days.publish()
    days.shop.query("insert into raw.events (event_id, session_id, _loaded_at) values ('slow', 's', %s)", stamp)
    for _ in range(2):
        days.begin()
        assert "source_not_null_greenery_events_user_id" in days.compare(*EVENTS)
        days.build("+int_events")
        days.publish()


def test_what_stopped_a_run_before_it_was_published_stops_the_next(days: Looks):
    days.first_runs(*ORDERS)
    days.spoil(*[a_total_does_not_add_up] * 3)
    days.begin()
    days.build(*ORDERS)
    found = days.compare("--select", "int_orders,test_type:generic")
    assert days.errors == {"int_orders_total_is_cost_plus_shipping_less_discount"}
    days.load_a_day()
    assert days.begin() is True
    assert days.scans()
    days.build(*ORDERS)
    again = days.look("--select", "int_orders,test_type:generic")
    assert all(rows <= again[name] for name, rows in found.items())


def test_a_warning_is_said_every_day_until_it_is_mended(days: Looks):
    """It does not keep a run from being published, so a look at new rows alone would say it once and forget it."""
    days.first_runs(*ORDERS)
    sound = days.spoil(a_cost_is_not_that_of_the_items)
    for _ in range(3):
        assert days.begin() is False
        days.build(*ORDERS)
        assert days.compare("--select", "int_orders,test_type:generic").keys() == {
            "int_orders_cost_is_the_sum_of_the_items"
        }
        assert days.errors == set()
        days.publish()
    deliver(days.shop.connection, sound)
    assert days.begin() is False
    days.build(*ORDERS)
    assert days.compare("--select", "int_orders,test_type:generic") == {}


def test_what_somebody_let_through_is_found_until_it_is_mended(days: Looks):
    def publish() -> None:
        failed = {
            "resource_type": "test",
            "name": "total",
            "config": {"severity": "error"},
            "depends_on": {"nodes": []},
        }
        publish_run(f"run {days.runs}", Manifest({"test.total": failed}, {}))

    days.first_runs(*ORDERS)
    sound = days.spoil(*[a_total_does_not_add_up] * 3)
    until = datetime.now(UTC).date() + timedelta(days=2)
    answers.give(days.shop.connection, Kind.MUTE, About("test.total"), "ada", "mended soon", until, waives=True)
    total = {"int_orders_total_is_cost_plus_shipping_less_discount"}
    for _ in range(3):  # the third on the same buffer as the first, whose new rows are others
        assert days.begin() is False
        days.build(*ORDERS)
        days.look("--select", "int_orders,test_type:generic")
        assert days.errors == total
        publish()
    deliver(days.shop.connection, sound)
    assert days.begin() is False
    days.build(*ORDERS)
    days.look("--select", "int_orders,test_type:generic")
    assert days.errors == set()


def most_orders_cost_twice(tables: Tables, _: object) -> None:
    """Those of the last day."""
    last = max(order["created_at"][:10] for order in tables["orders"])
    for order in tables["orders"]:
        if order["created_at"][:10] == last:
            cost = 2 * float(order["order_cost"]) + 1
            order["order_total"] = str(float(order["order_total"]) - float(order["order_cost"]) + cost)
            order["order_cost"] = str(cost)


def most_views_are_of_nothing(tables: Tables, _: object) -> None:
    """Those of the last day."""
    last = max(event["created_at"][:10] for event in tables["events"])
    for event in tables["events"]:
        if event["created_at"][:10] == last and event["event_type"] == "page_view":
            event["product_id"] = None


def test_what_most_rows_of_a_day_have_is_found_though_many_others_are_looked_at(days: Looks):
    """A bad night is one of two that are new in a buffer, which run 2 built. All of history is looked at each week, and
    by the run after one that was held back. What days without a publish brought is judged however old it is.
    """
    costs, views = "most_orders_cost_about_what_their_items_do", "most_events_tell_their_order_or_product"
    days.first_runs(*ORDERS)
    days.spoil(most_orders_cost_twice, most_views_are_of_nothing)
    assert days.begin() is False
    days.build(*ORDERS)
    for scan in (False, True):
        days.shop.query(f"update ops.buffers set scan = {scan} where {THIS_BUFFER}")
        days.look("--select", costs, views)
        assert days.errors == {costs, views}
    # Thirty days without a publish are judged like one; what was there before is no longer anybody's to mend.
    last = "(select max(created_at)::date from raw.orders)"
    days.shop.query(
        f"update analytics_next.int_orders set ordered_at = ordered_at - interval '20 days' where ordered_at > {last};"
        f" update raw.events set created_at = created_at - interval '20 days' where created_at > {last}"
    )
    for missed, found in ((0, set()), (30, {costs, views})):
        days.shop.query(f"update ops.watermarks set loaded_at = {last} - {missed}")
        days.look("--select", costs, views)
        assert days.errors == found
    # So are those on which one table alone did not come.
    days.shop.query(f"update ops.watermarks set loaded_at = {last} where source not in ('orders', 'events')")
    days.look("--select", costs, views)
    assert days.errors == {costs, views}


def test_a_change_of_an_order_that_a_mart_lost_is_told_again_in_the_weekly_look(days: Looks):
    """An ordinary day looks at the orders that have a new version, and the history is longer than that."""
    history, guard = "path:snapshots+", ("--select", "order_changes_add_up")
    days.first_runs(history)
    for stamp in ("dbt_valid_from", "dbt_valid_to", "_loaded_at"):
        days.shop.query(f"update snapshots.orders_snapshot set {stamp} = {stamp} - interval '3 days'")
    for buffer in ("analytics", "analytics_next"):
        days.shop.query(f"update {buffer}.order_status_changes set changed_at = changed_at - interval '3 days'")
    assert days.begin() is False
    changes = days.shop.query(
        "delete from analytics_next.order_status_changes where order_id = (select min(told.order_id)"
        " from analytics_next.order_status_changes as told join raw.orders using (order_id)"
        " where status = to_status and orders.tracking_id = told.tracking_id) returning order_change_id"
    )

    def told_again() -> int:
        ids = tuple(change for (change,) in changes)
        [[number]] = days.shop.query(
            "select count(*) from analytics_next.order_status_changes where order_change_id in %s", ids
        )
        return number

    days.build(history)
    assert (told_again(), days.look(*guard)) == (0, {})
    days.publish()
    days.shop.query("update ops.buffers set scanned_at = scanned_at - interval '8 days'")
    days.begin()
    days.build(history)
    days.publish()  # the other buffer
    assert days.begin() is False
    assert days.look(*guard) == {"order_changes_add_up": {"changes of orders"}}
    days.build(history)
    assert (told_again(), days.look(*guard)) == (len(changes), {})


def test_each_buffer_is_looked_at_as_a_whole_once_a_week_and_when_the_project_changes(days: Looks):
    def run() -> bool:
        days.begin()
        scans = days.scans()
        days.build("int_events")
        days.publish()
        return scans

    days.first_runs("+int_events")  # which were such looks but for the third
    assert run() is False
    days.shop.query("update ops.buffers set scanned_at = scanned_at - interval '8 days'")
    assert [run() for _ in range(4)] == [True, True, False, False]

    days.release = "another release"
    days.begin()  # and is not published: the look is owed still
    assert [run() for _ in range(4)] == [True, True, False, False]


@pytest.mark.parametrize("runs", [(1, 2, 3, 4, 5, 6, 7), (2, 3, 7), (30,)], ids=["each day", "some days", "no day"])
def test_within_a_week_each_test_reads_all_of_history_once_whichever_days_have_a_run(
    days: Looks, runs: tuple[int, ...]
) -> None:
    began = days.first_week()
    read = [days.reading_all(began + timedelta(run)) for run in runs]
    assert sorted(name for each in read for name in each) == sorted(days.all_of_history)
    assert len(runs) < 7 or max(map(len, read)) < len(days.all_of_history) / 2


def test_a_turn_to_read_all_of_history_comes_again_until_its_run_is_published(days: Looks) -> None:
    began = days.first_week()
    owed = days.reading_all(began + timedelta(3), publish=False)
    assert owed
    assert owed <= days.reading_all(began + timedelta(4))
    assert not owed & days.reading_all(began + timedelta(5))
