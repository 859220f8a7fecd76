"""The proof: past days judged as a run judges them, faults planted in copies of their rows, and what is told of it."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random

import pytest
from psycopg2.extensions import connection as Connection

from include.unusual import prove
from include.unusual.faults import Fault
from include.unusual.prove import Planted, Proof, ProofError
from include.unusual.rows import Table
from include.unusual.series import Expected, Measure, Series, Unusual
from tests.include.unusual.conftest import ORDERS, project, source

FIRST = date(2026, 3, 1)
DAYS = 80
ROWS = Series(ORDERS, Measure.ROWS)


def unusual(day: date) -> Unusual:
    return Unusual(ROWS, day, 12, Expected(40, 31, 48, 60), 3, day)


def fault(share: float, days_until: int | None, name: str = "a day twice") -> Planted:
    from psycopg2 import sql

    of = Fault(name, "orders", Table(ORDERS, "raw", "orders", "created_at"), FIRST, 1, share, sql.SQL("select 1"))
    return Planted(of, days_until, None if days_until is None else ROWS)


def proof(faults: tuple[Planted, ...], *alarms: date, days: int = 90) -> Proof:
    return Proof(FIRST, FIRST + timedelta(days - 1), 100, 90, faults, {day: (unusual(day),) for day in alarms})


# What is enough.


def test_nine_of_ten_large_faults_and_one_false_alarm_a_quarter_are_enough() -> None:
    assert proof((fault(0.2, 0),) * 9 + (fault(0.2, None),), FIRST).is_enough


def test_eight_of_ten_large_faults_are_not() -> None:
    assert not proof((fault(0.2, 0),) * 8 + (fault(0.2, None),) * 2).is_enough


def test_where_no_large_fault_was_planted_nothing_is_proved() -> None:
    assert not proof(()).is_enough
    assert not proof((fault(0.19, 0),)).is_enough


def test_a_small_fault_may_be_missed() -> None:
    assert proof((fault(0.2, 0), fault(0.19, None))).is_enough


def test_two_false_alarms_a_quarter_are_too_many_and_so_are_two_in_fewer_days() -> None:
    alarms = FIRST, FIRST + timedelta(9)
    assert not proof((fault(1, 0),), *alarms).is_enough
    assert not proof((fault(1, 0),), *alarms, days=30).is_enough


# What is told.


def test_the_result_counts_the_faults_of_each_kind() -> None:
    told = prove.result(proof((fault(1, 0), fault(1, 4), fault(0.5, None, "a column empty")), FIRST))
    assert [tuple(one.values()) for one in told["faults"]] == [
        ("a day twice", ["orders"], 2, 2, 4),
        ("a column empty", ["orders"], 1, 0, None),
    ]
    assert told["large"] == {"planted": 3, "caught": 2}
    assert told["false_alarms"] == [
        {"day": "2026-03-01", "series": {"unique_id": ORDERS, "measure": "rows", "column": "", "item": ""}}
    ]


def test_the_text_says_by_fault_which_series_told_it_and_after_how_many_days() -> None:
    text = prove.told(proof((fault(1, 4), fault(0.5, None, "a column empty")), FIRST), project())
    assert "It would have caught 1 of 2 faults; of those of a fifth of the rows or more 1 of 2." in text
    assert "1 false alarm in 90 days." in text
    assert "orders, 2026-03-01, 100.0 % of the rows: rows of raw.orders" in text
    assert "2026-03-01: rows of raw.orders 12, usually 31 to 48" in text


# The replay.


@pytest.fixture
def shop(db: Connection) -> Connection:
    """80 days of some 300 orders each, with a quiet Sunday; the last of them was loaded the morning after."""
    with db.cursor() as cursor:
        cursor.execute(
            """
            create schema if not exists raw;
            create table raw.orders as
            select
                format('o%%s-%%s', day, nth) as order_id, format('u%%s@example.com', nth) as email,
                begun + nth * (interval '1 day' / rows) as created_at,
                (array['shipped', 'preparing', 'delivered'])[1 + (nth + day) %% 3] as status,
                20 + (nth * 7 + day) %% 30 as amount, null as note, begun + interval '29 hours' as _loaded_at
            from generate_series(0, %(days)s - 1) as day
            cross join lateral (
                select
                    %(first)s::timestamptz + day * interval '1 day' as begun,
                    300 - 9 * (day %% 4) - case day %% 7 when 0 then 120 else 0 end as rows
            ) as days
            cross join lateral generate_series(0, rows - 1) as nth;
            create table raw.loads as select 'orders' as table_name, max(_loaded_at) as loaded_at from raw.orders
            """,
            {"first": FIRST, "days": DAYS},
        )
    db.autocommit = False
    return db


@pytest.mark.db
def test_faults_are_planted_in_copies_and_caught_and_nothing_is_left(shop: Connection) -> None:
    with shop.cursor() as cursor:
        cursor.execute("select md5(string_agg(o::text, ',' order by order_id)) from raw.orders as o")
        before = cursor.fetchone()
        shop.commit()
        found = prove.prove(shop, project())
        assert (found.last, found.alarms) == (FIRST + timedelta(DAYS - 11), {})
        missed = {name: len(of) - prove.caught(of) for name, of in found.by_name().items()}
        always = "half a day missing", "a day twice", "a time zone off", "a column empty", "cents for dollars"
        assert {name: missed[name] for name in always} == dict.fromkeys(always, 0)
        cursor.execute("select md5(string_agg(o::text, ',' order by order_id)) from raw.orders as o")
        assert cursor.fetchone() == before
        cursor.execute("select count(*) from pg_class where relnamespace = pg_my_temp_schema()")
        assert cursor.fetchone() == (0,)


@pytest.mark.db
def test_a_proof_keeps_no_lock_that_a_publish_or_a_load_would_wait_for(shop: Connection) -> None:
    with shop.cursor() as cursor:
        cursor.execute(
            """
            create table analytics.daily_metrics as
            select created_at::date as day, 'orders' as metric, count(*) as value from raw.orders group by 1
            """
        )
        shop.commit()
        replay = prove._Replay(shop, cursor, project(), "analytics")
        assert Series("metric.p.orders", Measure.VALUE) in replay.past
        assert replay.proof(Random(1)).faults  # noqa: S311 - no secret hangs on it
        cursor.execute(
            """
            select relname from pg_locks join pg_class on pg_class.oid = relation
            where pid = pg_backend_pid() and relnamespace = any('{raw,analytics}'::regnamespace[])
            """
        )
        assert cursor.fetchall() == []


@pytest.mark.db
def test_cents_for_dollars_are_no_number_too_large_and_a_table_that_is_not_there_has_no_faults(
    shop: Connection,
) -> None:
    facts = project()
    facts.sources["source.p.s.gone"] = source("gone", event_time="created_at")
    with shop.cursor() as cursor:
        cursor.execute("alter table raw.orders alter note type int using 100000000 + amount")
        shop.commit()
        found = prove.prove(shop, facts)
        assert {one.fault.what for one in found.by_name()["cents for dollars"]} == {"orders.amount", "orders.note"}


@pytest.mark.db
def test_too_short_a_past_proves_nothing(shop: Connection) -> None:
    with shop.cursor() as cursor:
        cursor.execute("delete from raw.orders where created_at < %s", (FIRST + timedelta(20),))
    shop.commit()
    with pytest.raises(ProofError, match="A proof takes 65 days, and there are 50 so far, since 2026-03-21"):
        prove.prove(shop, project())


@pytest.mark.db
def test_a_warehouse_that_was_never_loaded_proves_nothing(db: Connection) -> None:
    db.autocommit = False
    with pytest.raises(ProofError, match="Nothing was observed or loaded so far"):
        prove.prove(db, project())
