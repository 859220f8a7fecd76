"""What a run observes: of a raw table's day, its columns, metrics, models and itself; and what it leaves alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection

from include.dbt_project import limits
from include.dbt_project.manifest import Manifest
from include.results import node_results, runs
from include.results.nodes import NodeResult
from include.unusual import observe
from include.unusual.observe import history, measured
from include.unusual.series import Measure, Series
from tests.include.unusual.conftest import DAILY, FACTS, ORDERS, PLACES, model, project, source

pytestmark = pytest.mark.db

DAY = date(2026, 3, 3)
AS_OF = datetime(2026, 3, 4, 5, 30, tzinfo=UTC)


def ask(connection: Connection, statement: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def change(connection: Connection, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def of_day(connection: Connection, facts: Manifest, day: date = DAY) -> dict[Series, float | None]:
    with connection.cursor() as cursor:
        return {one.series: one.value for one in measured(cursor, facts, (day, day))}


def orders(measure: Measure, column: str = "", item: str = "") -> Series:
    return Series(ORDERS, measure, column, item)


def test_of_a_day_s_rows_is_measured_how_many_there_are_when_and_what_is_in_them(shop: Connection) -> None:
    found = of_day(shop, project())
    assert {one: value for one, value in found.items() if one.unique_id == ORDERS} == {
        orders(Measure.ROWS): 10,
        orders(Measure.HOURS): 10,
        orders(Measure.MIDDAY): 9,
        orders(Measure.NULLS, "order_id"): 0,
        orders(Measure.DISTINCT, "order_id"): 1,
        orders(Measure.NULLS, "email"): 0,
        orders(Measure.DISTINCT, "email"): 1,
        orders(Measure.NULLS, "status"): 0,
        orders(Measure.DISTINCT, "status"): 0.2,
        orders(Measure.SHARE, "status", "preparing"): 0.2,
        orders(Measure.SHARE, "status", "shipped"): 0.8,
        orders(Measure.NULLS, "amount"): pytest.approx(0.1),
        orders(Measure.DISTINCT, "amount"): 1,
        orders(Measure.LEAST, "amount"): 0,
        orders(Measure.GREATEST, "amount"): 9,
        orders(Measure.MEAN, "amount"): pytest.approx(41 / 9),
        orders(Measure.NULLS, "note"): 0,
        orders(Measure.DISTINCT, "note"): 1,
    }


def test_of_what_has_no_date_all_rows_are_counted_and_metrics_are_of_the_day(shop: Connection) -> None:
    found = of_day(shop, project())
    assert {one: value for one, value in found.items() if one.unique_id != ORDERS} == {
        Series(PLACES, Measure.ROWS): 4,
        Series(FACTS, Measure.ROWS): 30,
        Series(DAILY, Measure.ROWS): 18,
        Series("metric.p.orders", Measure.VALUE): 30,
        Series(DAILY, Measure.VALUE, item="margin"): 30,
    }


def test_a_day_without_rows_has_none(shop: Connection) -> None:
    found = of_day(shop, project(), date(2026, 3, 9))
    assert found[orders(Measure.ROWS)] == found[orders(Measure.HOURS)] == 0
    assert found[orders(Measure.MIDDAY)] is found[orders(Measure.NULLS, "status")] is None


def test_what_is_no_finite_number_is_none(shop: Connection) -> None:
    change(shop, "update raw.orders set amount = 'NaN' where order_id = 'o3-1'")
    change(shop, "update raw.orders set amount = 1e400 where order_id = 'o2-1'")
    assert of_day(shop, project())[orders(Measure.MEAN, "amount")] is None
    second = of_day(shop, project(), date(2026, 3, 2))
    assert (second[orders(Measure.GREATEST, "amount")], second[orders(Measure.LEAST, "amount")]) == (None, 0)


@pytest.mark.parametrize("kind", ["timestamp", "date"])
def test_a_column_of_times_without_a_zone_or_of_days_dates_rows_as_well(shop: Connection, kind: str) -> None:
    change(shop, f"alter table raw.orders alter created_at type {kind}")
    found = of_day(shop, project())
    assert found[orders(Measure.ROWS)] == 10
    assert (orders(Measure.HOURS) in found) is (kind == "timestamp")


def test_what_cannot_be_compared_and_what_has_an_odd_name_is_measured_as_far_as_it_can_be(shop: Connection) -> None:
    change(shop, """alter table raw.orders add "100 %s "";" text default '5%%', add extra json default '{}'""")
    found = of_day(shop, project())
    assert found[orders(Measure.SHARE, '100 %s ";', "5%%")] == 1
    assert found[orders(Measure.NULLS, "extra")] == 0
    assert orders(Measure.DISTINCT, "extra") not in found


def test_nothing_personal_and_no_key_is_looked_at(shop: Connection) -> None:
    change(shop, "update raw.orders set email = 'ann@example.com', order_id = 'o3'")
    found = of_day(shop, project())
    assert {one.column for one in found if one.measure is Measure.SHARE} == {"status"}


def test_what_a_shop_ignores_is_not_measured(shop: Connection) -> None:
    """A whole table, one of its columns, a model, a metric."""
    facts = project(
        orders=source(
            "orders", {"status": {"unusual": "ignore"}, "email": {"personal": True}}, event_time="created_at"
        ),
        **{FACTS: model("fact_orders", meta={"unusual": "ignore"})},
    )
    facts.sources[PLACES]["config"] = {"meta": {"unusual": "ignore"}}
    facts.metrics["metric.p.orders"]["config"] = {"meta": {"unusual": "ignore"}}
    found = of_day(shop, facts)
    assert {one.unique_id for one in found} == {ORDERS, DAILY}
    assert not [one for one in found if one.column == "status"]


def observed(connection: Connection, series: Series) -> list[tuple[date, float | None, bool]]:
    found = history(connection, date(2026, 3, 31), 400).get(series, [])
    return [(one.day, one.value, one.afterwards) for one in found]


def test_a_run_keeps_the_day_and_what_is_known_of_the_days_before(shop: Connection) -> None:
    assert observe.observe(shop, "run", project(), AS_OF) == ()
    rows = observed(shop, orders(Measure.ROWS))
    assert len(rows) == observe.PAST + 1
    assert rows[-3:] == [(date(2026, 3, 1), 10, True), (date(2026, 3, 2), 10, True), (DAY, 10, False)]
    assert rows[-4] == (date(2026, 2, 28), 0, True)
    metric = observed(shop, Series("metric.p.orders", Measure.VALUE))
    assert [value for _, value, _ in metric] == [-50, -40, -30, -20, -10, 0, 10, 20, 30]
    # Of columns the week that can be caught up.
    shares = observed(shop, orders(Measure.SHARE, "status", "shipped"))
    assert [(day, afterwards) for day, _, afterwards in shares] == [
        (date(2026, 3, 1), True),
        (date(2026, 3, 2), True),
        (DAY, False),
    ]


def test_of_itself_a_run_notes_when_tables_were_loaded_and_how_long_models_took(shop: Connection) -> None:
    built = NodeResult(FACTS, "model", "fact_orders", "success", None, None, None, 2.5, None)
    node_results.record(shop, "run", "task", 1, [built])
    observe.observe(shop, "run", project(), AS_OF)
    assert observed(shop, orders(Measure.LOADED)) == [(DAY, 5.5, False)]
    assert observed(shop, Series(FACTS, Measure.SECONDS)) == [(DAY, 2.5, False)]


def test_of_several_loads_of_a_morning_the_first_one_counts(shop: Connection) -> None:
    """Else with a load each hour the first run of a day would find all tables far too early."""
    change(shop, "insert into raw.loads values ('orders', '2026-03-04 00:40'), ('orders', '2026-03-03 23:40')")
    observe.observe(shop, "run", project(), AS_OF)
    assert observed(shop, orders(Measure.LOADED)) == [(DAY, pytest.approx(2 / 3), False)]


def test_a_second_run_of_the_day_replaces_what_the_first_observed(shop: Connection) -> None:
    change(shop, "update raw.orders set status = 'lost'")
    observe.observe(shop, "run", project(), AS_OF)
    change(shop, "update raw.orders set status = 'found'")
    runs.begin(shop, "again", "release")
    observe.observe(shop, "again", project(), AS_OF + timedelta(hours=2))
    assert observed(shop, orders(Measure.SHARE, "status", "lost")) == []
    assert observed(shop, orders(Measure.SHARE, "status", "found"))[-1] == (DAY, 1, False)


def test_the_evening_of_a_well_day_leaves_what_ages_as_it_was_in_the_morning(shop: Connection) -> None:
    """With two runs a day mornings are compared with mornings: by the evening most orders are shipped."""
    observe.observe(shop, "run", project(), AS_OF)
    change(shop, "insert into ops.publications (schema_oid, run_id, data_as_of) values (1, 'run', now())")
    change(shop, "update raw.orders set status = 'shipped'; delete from raw.orders where order_id = 'o3-9'")
    runs.begin(shop, "evening", "release")
    observe.observe(shop, "evening", project(), AS_OF + timedelta(hours=12))
    assert observed(shop, orders(Measure.SHARE, "status", "shipped"))[-1] == (DAY, 0.8, False)
    assert observed(shop, orders(Measure.ROWS))[-1] == (DAY, 9, False)


def test_what_had_no_rows_in_the_morning_is_observed_in_the_evening(shop: Connection) -> None:
    change(shop, "create temp table late as select * from raw.orders; delete from raw.orders")
    observe.observe(shop, "run", project(), AS_OF)
    change(shop, "insert into ops.publications (schema_oid, run_id, data_as_of) values (1, 'run', now())")
    change(shop, "insert into raw.orders select * from late")
    runs.begin(shop, "evening", "release")
    observe.observe(shop, "evening", project(), AS_OF + timedelta(hours=12))
    assert observed(shop, orders(Measure.NULLS, "status"))[-1] == (DAY, 0, False)


def test_what_was_unusual_in_the_morning_is_observed_anew_in_the_evening(shop: Connection) -> None:
    observe.observe(shop, "run", project(), AS_OF)
    change(shop, "insert into ops.publications (schema_oid, run_id, data_as_of) values (1, 'run', now())")
    change(
        shop,
        "insert into ops.unusual (run_id, unique_id, measure, day, expected, least, most, score, since)"
        " values ('run', 'model.p.m', 'rows', '2026-03-03', 1, 0, 2, 9, '2026-03-03')",
    )
    change(shop, "update raw.orders set status = 'shipped'")
    runs.begin(shop, "evening", "release")
    observe.observe(shop, "evening", project(), AS_OF + timedelta(hours=12))
    assert observed(shop, orders(Measure.SHARE, "status", "shipped"))[-1] == (DAY, 1, False)


def test_later_runs_leave_a_day_as_it_was_and_catch_up_the_missed_ones(shop: Connection) -> None:
    """An order's status changes for days: what was observed of it early is compared with what is observed early."""
    observe.observe(shop, "run", project(), datetime(2026, 3, 2, 5, 30, tzinfo=UTC))
    change(shop, "update raw.orders set status = 'shipped'")
    observe.observe(shop, "run", project(), AS_OF)
    assert observed(shop, orders(Measure.SHARE, "status", "shipped")) == [
        (date(2026, 3, 1), 0.8, False),
        (date(2026, 3, 2), 1, True),
        (DAY, 1, False),
    ]
    # A value that is known is told of as long as there are rows.
    assert observed(shop, orders(Measure.SHARE, "status", "preparing"))[-1] == (DAY, 0, False)


def test_a_day_between_missed_ones_stays_as_it_was(shop: Connection) -> None:
    observe.observe(shop, "run", project(), datetime(2026, 3, 3, 5, 30, tzinfo=UTC))
    change(shop, "delete from ops.observations where day = '2026-03-01'; update raw.orders set status = 'shipped'")
    observe.observe(shop, "run", project(), AS_OF)
    shares = observed(shop, orders(Measure.SHARE, "status", "shipped"))
    assert [value for _, value, _ in shares] == [1, 0.8, 1]


def test_the_past_of_a_new_metric_is_known_at_once_beside_those_that_are_watched(shop: Connection) -> None:
    before = project()
    before.metrics.clear()
    observe.observe(shop, "run", before, datetime(2026, 3, 3, 5, 30, tzinfo=UTC))
    assert observe.observe(shop, "run", project(), AS_OF) == ()
    assert observed(shop, Series("metric.p.orders", Measure.VALUE))[0] == (date(2026, 2, 23), -50, True)


def test_values_that_were_never_there_before_are_counted(shop: Connection) -> None:
    observe.observe(shop, "run", project(), datetime(2026, 3, 2, 5, 30, tzinfo=UTC))
    change(shop, "update raw.orders set status = right(order_id, 1) where starts_with(order_id, 'o2')")
    change(
        shop, "update raw.orders set status = order_id || generate_series from generate_series(1, 1) where amount > 1"
    )
    change(shop, "update raw.orders set status = 'preparing' where order_id = 'o3-0'")
    change(
        shop,
        "insert into raw.orders (order_id, status, created_at, _loaded_at)"
        " select 'more', nth::text, '2026-03-03', '2026-03-04' from generate_series(1, 50) as nth",
    )
    observe.observe(shop, "run", project(), AS_OF)
    assert observed(shop, orders(Measure.NEW_VALUES, "status"))[-1] == (DAY, 57, False)
    assert observed(shop, orders(Measure.SHARE, "status", "preparing"))[-1] == (DAY, pytest.approx(1 / 60), False)
    # So many are no small set any more: those that were known are told of.
    assert {one.item for one in history(shop, DAY, 1) if one.measure is Measure.SHARE} <= {"shipped", "preparing"}


def test_what_can_not_be_measured_is_said_and_costs_nothing_else(shop: Connection) -> None:
    facts = project(orders=source("orders", {"status": {"unusual": "hold"}}, event_time="ordered"))
    [one] = observe.observe(shop, "run", facts, AS_OF)
    assert (one.unique_id, one.holds) == (ORDERS, True)
    assert "raw.orders: it has no column ordered" in one.why
    assert observed(shop, Series(PLACES, Measure.ROWS)) == [(DAY, 4, False)]


def test_where_no_time_is_left_it_is_said_and_what_was_measured_is_kept(
    shop: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publish waits for it: however many tables there are, each of them slow."""
    monkeypatch.setattr(observe, "_PATIENCE_IN_ALL", 1.0)
    change(
        shop,
        "alter table analytics_next.fact_orders rename to slow;"
        "create view analytics_next.fact_orders as"
        " select * from analytics_next.slow where pg_sleep(0.1) is not null",
    )
    not_seen = {one.unique_id: one.why for one in observe.observe(shop, "run", project(), AS_OF)}
    assert not_seen.keys() == {FACTS, DAILY, ORDERS}
    assert "no time was left" in not_seen[DAILY]
    assert observed(shop, orders(Measure.ROWS))[-1] == (DAY, 10, False)
    assert ask(shop, "show statement_timeout") == [("0",)]


def test_where_nothing_can_be_kept_a_run_hears_why(shop: Connection) -> None:
    change(shop, "drop table ops.observations")
    [one] = observe.of_run("run", project(), AS_OF)
    assert "ops.observations" in one.why
    assert not one.holds
    facts = project(orders=source("orders", {"status": {"unusual": "hold"}}))
    assert [one.holds for one in observe.of_run("run", facts, AS_OF)] == [True]


def test_a_run_observes_as_of_the_last_load_before_it_began(shop: Connection) -> None:
    """A load of the evening holds no whole day yet."""
    change(shop, "delete from raw.loads where loaded_at > '2026-03-03'")
    change(shop, "insert into raw.loads values ('orders', '2026-03-03 23:30'), ('orders', '2026-03-04 09:00')")
    observe.of_run("run", project(), datetime(2026, 3, 4, 0, 30, tzinfo=UTC))
    assert observed(shop, orders(Measure.ROWS))[-1][0] == date(2026, 3, 2)


def test_a_shop_without_notes_of_loads_and_without_metrics_is_watched_as_well(shop: Connection) -> None:
    change(shop, "drop table raw.loads, analytics_next.daily_metrics; alter table raw.orders drop _loaded_at")
    assert observe.of_run("run", project(), datetime(2026, 3, 4, 6, tzinfo=UTC)) == ()
    assert observed(shop, orders(Measure.ROWS))[-1] == (DAY, 10, False)


def test_a_day_s_rows_are_found_by_when_they_were_loaded(shop: Connection) -> None:
    """Whatever the history: they were loaded after their day began, as were those of the day before."""
    change(
        shop,
        """
        insert into raw.orders (order_id, created_at, _loaded_at)
        select 'old', '2025-01-01'::timestamptz + nth * interval '1 minute', '2025-01-02'
        from generate_series(1, 20000) as nth;
        create index orders_loaded_at on raw.orders (_loaded_at);
        analyze raw.orders
        """,
    )
    read = "select seq_tup_read, idx_tup_fetch from pg_stat_xact_user_tables where relid = 'raw.orders'::regclass"
    change(shop, "begin")
    [(scanned, fetched)] = ask(shop, read)
    of_day(shop, project())
    assert ask(shop, read) == [(scanned, fetched + 20)]
    change(shop, "rollback")


def test_observations_are_kept_for_as_long_as_is_asked_for(shop: Connection) -> None:
    observe.observe(shop, "run", project(), AS_OF)
    old = (datetime.now(UTC).date() - date(2026, 3, 2)).days
    assert observe.forget(shop, timedelta(days=old)) > observe.PAST
    assert {day for day, _, _ in observed(shop, orders(Measure.ROWS))} == {date(2026, 3, 2), DAY}


def test_what_was_unusual_is_forgotten_with_its_day(shop: Connection) -> None:
    change(
        shop,
        """
        insert into ops.unusual (run_id, unique_id, measure, day, expected, least, most, score, since)
        select 'run', 'model.p.' || day, 'rows', day, 1, 0, 2, 9, day
        from unnest('{2026-03-01,2026-03-02}'::date[]) as day
        """,
    )
    observe.forget(shop, timedelta(days=(datetime.now(UTC).date() - date(2026, 3, 2)).days))
    assert ask(shop, "select day from ops.unusual") == [(date(2026, 3, 2),)]


def test_a_word_that_means_nothing_is_refused_when_the_project_is_read() -> None:
    facts = Manifest({}, {ORDERS: source("orders", {"status": {"unusual": "stop"}})})
    assert limits.problem(facts) == (
        "models/_sources.yml: raw.orders.status has `unusual: stop` in its `meta`. Known are say, hold, ignore."
    )
