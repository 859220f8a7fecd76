"""Forgetting a person, on raw, a mart and what runs said: whom it finds, what it refuses, what a load makes of it."""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psycopg2
import pytest
from airflow.sdk.exceptions import AirflowFailException
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from include.answers import answers
from include.answers.answer import About, Kind
from include.erase import __main__ as command
from include.erase import erasure, texts
from include.erase.by_hand import erase_in_airflow
from include.erase.person import Person
from include.erase.places import EraseError
from include.raw import lease, load
from include.raw.contract import PERSONS, TABLES
from include.raw.load import LoadReport, Rows
from include.results import node_results, publications, runs
from include.results.nodes import NodeResult
from include.settings import Warehouse
from include.slack import outbox
from include.slack.message import Message
from include.warehouse import connect, personal, roles, sandbox, transaction
from include.warehouse.roles import LOADER, TRANSFORMER

pytestmark = pytest.mark.db

AT = "2026-03-01T10:00:00+00:00"
SHOP: dict[str, list[dict[str, object]]] = {
    "addresses": [
        {"address_id": "home", "address": "1 Elm Street", "zipcode": "01234", "state": "Ohio", "country": "US"},
        {"address_id": "work", "address": "2 Mill Lane", "zipcode": "99999", "state": "Texas", "country": "US"},
    ],
    "users": [
        {"user_id": "ann-0001", "first_name": "Ann", "last_name": "May", "email": "ann@example.com"}
        | {"phone_number": "555-0001", "created_at": AT, "updated_at": AT, "address_id": "home"},
        {"user_id": "bob-0002", "first_name": "Bob", "last_name": "May", "email": "bob@example.com"}
        | {"phone_number": "555-0002", "created_at": AT, "updated_at": AT, "address_id": "work"},
        {"user_id": "eve-0003", "first_name": "Eve", "last_name": "Roe", "email": "eve@example.com"}
        | {"phone_number": "555-0003", "created_at": AT, "updated_at": AT, "address_id": "work"},
    ],
    "orders": [
        {"order_id": "o1", "user_id": "ann-0001", "address_id": "home", "tracking_id": "parcel-1", "created_at": AT},
        {"order_id": "o2", "user_id": "ann-0001", "address_id": "work", "tracking_id": "parcel-2", "created_at": AT},
        {"order_id": "o3", "user_id": "bob-0002", "address_id": "work", "tracking_id": "parcel-3", "created_at": AT},
    ],
    "events": [
        {"event_id": "e1", "user_id": "ann-0001", "page_url": "https://shop/ann-0001/o1", "created_at": AT},
        {"event_id": "e2", "user_id": "eve-0003", "page_url": "https://shop/fern", "created_at": AT},
    ],
}
# What else is text in `ops`: keys, states, signatures, and what names nobody. (An `item` goes with its row, and the key
# of a row behind a figure that moved becomes that of the stand-in, or goes with its row as well.)
NO_PROSE = """
    alembic_version.version_num answers.answered_by answers.column_name answers.kind answers.measure answers.unique_id
    backups.databases backups.name buffer_models.checksum buffer_models.identifier buffer_models.unique_id
    buffers.products buffers.run_id code.hash compiled_sql.run_id compiled_sql.unique_id decisions.action
    decisions.decided_by decisions.run_id erasures.changed erasures.erased_by explanations.metric leases.holder
    messages.audience messages.channel messages.kind messages.run_id messages.ts metrics.metric metrics.run_id
    moved_rows.changed moved_rows.key moved_rows.key_column moved_rows.side moved_rows.unique_id moved_rows.what
    moves.causes moves.metric moves.period node_results.error_if node_results.name node_results.resource_type
    node_results.run_id node_results.severity node_results.status node_results.task_id node_results.unique_id
    observations.column_name observations.item observations.measure observations.run_id observations.unique_id
    personal_columns.column_name personal_columns.key_of publication_loads.table_name publication_marts.mart
    publication_models.checksum publication_models.code publication_models.unique_id publications.macros
    publications.run_id releases.stamp risks.awaited risks.why runs.release runs.run_id schedules.schedule
    snapshots.config snapshots.name snapshots.run_id stand_ins.content stand_ins.hash stand_ins.of_user
    stand_ins.stand_in stand_ins.table_name told.metric unusual.because unusual.column_name unusual.item
    unusual.measure unusual.run_id unusual.unique_id watermarks.source
"""
ANN = ("ann-0001", "ann@example.com", "555-0001", "1 Elm Street", "parcel-1", "parcel-2", "Ann")


def brought(shop: dict[str, list[dict[str, object]]]) -> dict[str, Rows]:
    """What a loader brings of a shop."""
    rows = {name: Rows() for name in TABLES}
    for name, found in shop.items():
        rows[name].extend(
            load.line(None if one.get(column) is None else str(one[column]) for column in TABLES[name].columns)
            for one in found
        )
    return rows


def loaded(connection: Connection, shop: dict[str, list[dict[str, object]]]) -> LoadReport:
    with transaction(connection) as cursor:
        load.prepare(cursor)
        return load.replace(cursor, brought(shop), "a shop")


@pytest.fixture
def shop(db: Connection) -> Connection:
    """A shop of three that was loaded, with one mart, in which Ann has an older e-mail address."""
    fill(db)
    return db


def fill(db: Connection) -> None:
    """Load that shop, and make its mart."""
    loaded(db, SHOP)
    with db.cursor() as cursor:
        cursor.execute(
            """
            create table analytics.dim_users as
            select user_id, first_name, last_name, 'old' || email as email, created_at,
                address_id, address, state, country
            from raw.users join raw.addresses using (address_id);
            create table analytics_next.int_first_purchases as
            select user_id || '/fern' as user_product_id, user_id, 'fern' as product_id from raw.users;
            create table staging.int_orders__changes as select true as is_present, orders.* from raw.orders;
            """
        )
        personal.note(
            cursor,
            {"first_name": None, "last_name": None, "email": None, "phone_number": None, "address": None}
            | {"tracking_id": None, "user_id": "user_id", "user_product_id": "user_id", "address_id": "address_id"},
        )


def forget(user_id: str, reason: str = "asked for it") -> erasure.Certificate:
    return erasure.erase(user_id, reason, lambda _: "ada")


def everything(connection: Connection) -> str:
    """All rows of all tables, as text."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
            " union all select 'pg_catalog', 'pg_stats' order by 1, 2"
        )
        content = []
        for table in cursor.fetchall():
            cursor.execute(sql.SQL("select whole::text from {} as whole order by 1").format(sql.Identifier(*table)))
            content += [f"{'.'.join(table)}: {row}" for (row,) in cursor.fetchall()]
    return "\n".join(content)


def ask(connection: Connection, query: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def test_a_person_is_nowhere_and_the_rows_stay(shop: Connection) -> None:
    certificate = forget("ann-0001", "ann@example.com asked")
    left = everything(shop)
    assert [value for value in ANN if value in left] == []
    counts = "select (select count(*) from raw.{0}), (select count(distinct user_id) from raw.{0})"
    assert [ask(shop, counts.format(table)) for table in ("users", "orders", "events")] == [
        [(3, 3)],
        [(3, 2)],
        [(2, 2)],
    ]
    [(user, name, state)] = ask(
        shop,
        "select user_id, first_name, state from raw.users join raw.addresses using (address_id)"
        " where starts_with(user_id, 'erased-')",
    )
    assert (name, state) == (None, "Ohio")
    assert ask(shop, f"select user_product_id from analytics_next.int_first_purchases where user_id = '{user}'") == [
        (f"{user}/fern",)
    ]
    assert certificate.changed == {
        "analytics.dim_users": 1,
        "analytics_next.int_first_purchases": 1,
        "raw.addresses": 1,
        "raw.events": 1,
        "raw.orders": 2,
        "raw.users": 1,
        "staging.int_orders__changes": 2,
    }
    assert (certificate.erased_by, certificate.reason) == ("ada", "[erased] asked")


def test_what_others_share_stays_theirs(shop: Connection) -> None:
    forget("ann-0001")
    assert ask(shop, "select address, zipcode from raw.addresses where address_id = 'work'") == [
        ("2 Mill Lane", "99999")
    ]
    assert ask(shop, "select last_name from raw.users where user_id = 'bob-0002'") == [("May",)]
    # Of the order that went there, the place is told and no street.
    assert ask(
        shop, "select address, state from raw.orders join raw.addresses using (address_id) where order_id = 'o2'"
    ) == [(None, "Texas")]


def test_the_next_loads_do_not_bring_the_person_back(shop: Connection) -> None:
    forget("ann-0001")
    before = ask(shop, "select users.*, orders.* from raw.users left join raw.orders using (user_id) order by 1, 2")
    assert loaded(shop, SHOP).changed == 0
    with transaction(shop) as cursor:
        load.prepare(cursor)
        keys = {name: Rows() for name in PERSONS}
        for name, rows in keys.items():
            rows.extend(load.line([str(one[PERSONS[name]])]) for one in SHOP[name])
        assert load.upsert(cursor, brought(SHOP), "a shop", keys=keys).changed == 0
    assert (
        ask(shop, "select users.*, orders.* from raw.users left join raw.orders using (user_id) order by 1, 2")
        == before
    )
    assert [value for value in ANN if value in everything(shop)] == []


def test_a_new_order_of_the_shop_is_the_stand_ins(shop: Connection) -> None:
    forget("ann-0001")
    new = {"order_id": "o4", "user_id": "ann-0001", "address_id": "home", "tracking_id": "parcel-4", "created_at": AT}
    assert loaded(shop, SHOP | {"orders": [*SHOP["orders"], new]}).tables["orders"].inserted == 1
    assert ask(
        shop,
        "select count(distinct (user_id, address_id)), max(tracking_id) from raw.orders where order_id in ('o1', 'o4')",
    ) == [(1, None)]


def test_a_user_whom_the_shop_deleted_later_goes_on_to_have_a_stand_in(shop: Connection) -> None:
    forget("ann-0001")
    without = {name: [one for one in rows if one.get("user_id") != "ann-0001"] for name, rows in SHOP.items()}
    without["orders"] = SHOP["orders"]
    without["addresses"] = SHOP["addresses"][1:]
    loaded(shop, without)
    lacking = "select from raw.orders left join raw.users using (user_id) where users.user_id is null"
    assert ask(shop, lacking) == []
    assert ask(shop, "select from raw.orders left join raw.addresses using (address_id) where state is null") == []


def test_a_user_whom_the_shop_deleted_before_gets_a_stand_in(shop: Connection) -> None:
    loaded(shop, SHOP | {"users": SHOP["users"][1:]})
    forget("ann-0001")
    [(created_at, address)] = ask(
        shop, "select created_at::text, address_id from raw.users where starts_with(user_id, 'erased-')"
    )
    assert (created_at, address.startswith("erased-")) == ("2026-03-01 10:00:00+00", True)
    assert ask(shop, "select from raw.orders left join raw.users using (user_id) where users.user_id is null") == []
    assert loaded(shop, SHOP | {"users": SHOP["users"][1:]}).changed == 0
    assert "ann-0001" not in everything(shop)


def test_where_the_shop_deleted_the_address_too_its_state_is_as_the_marts_say(shop: Connection) -> None:
    less = {"users": SHOP["users"][1:], "addresses": SHOP["addresses"][1:]}
    loaded(shop, SHOP | less)
    forget("ann-0001")
    state = "select state, country, address from raw.users join raw.addresses using (address_id) where created_at = %s"
    with shop.cursor() as cursor:
        cursor.execute(state + " and starts_with(user_id, 'erased-')", (AT,))
        assert cursor.fetchall() == [("Ohio", "US", None)]
    assert ask(
        shop, "select state from raw.orders left join raw.addresses using (address_id) where order_id = 'o1'"
    ) == [("Ohio",)]
    assert loaded(shop, SHOP | less).changed == 0


def test_an_address_that_nobody_has_any_more_gets_no_row(shop: Connection) -> None:
    with shop.cursor() as cursor:
        cursor.execute("create table snapshots.users as select user_id, 'of old' as address_id from raw.users")
    forget("ann-0001")
    assert loaded(shop, SHOP).changed == 0
    assert ask(shop, "select count(*) from raw.addresses where state is null") == [(0,)]


def test_what_a_project_marks_beyond_the_contract_stays_empty_through_loads(
    shop: Connection, warehouse: Warehouse
) -> None:
    with shop.cursor() as cursor:
        cursor.execute("update raw.orders set shipping_service = 'bike'")
    forget("ann-0001")  # before the state was marked
    with shop.cursor() as cursor:
        personal.note(cursor, personal.columns(cursor) | {"state": None, "shipping_service": None})
    forget("eve-0003")
    bike = SHOP | {"orders": [one | {"shipping_service": "bike"} for one in SHOP["orders"]]}
    roles.ensure(shop, login=True)
    with connect("test", Warehouse(warehouse.host, warehouse.port, warehouse.database, LOADER, "")) as connection:
        loaded(connection, bike)
    assert ask(shop, "select distinct state from raw.addresses where starts_with(address_id, 'erased-')") == [(None,)]
    assert ask(shop, "select order_id from raw.orders where shipping_service is not null") == [("o3",)]
    assert ask(
        shop,
        "select distinct content ->> 'state' from ops.stand_ins join ops.erasures using (erasure_id)"
        " where table_name = 'addresses' and erasure_id = (select max(erasure_id) from ops.erasures)",
    ) == [(None,)]


def test_a_user_without_orders_is_still_counted(shop: Connection) -> None:
    forget("eve-0003")
    assert ask(shop, "select count(*) from raw.users") == [(3,)]
    assert ask(shop, "select nspname from pg_namespace where nspname ~ '^preview_'") == []


@pytest.mark.parametrize("user_id", ["nobody", "", "ann-000", "%"])
def test_an_unknown_id_is_refused_and_nothing_changed(shop: Connection, user_id: str) -> None:
    before = everything(shop)
    with pytest.raises(EraseError, match="No user has this id"):
        forget(user_id)
    assert everything(shop) == before


def test_twice_says_when_it_was_and_gives_the_certificate_of_then(
    shop: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Who was killed once it was committed has not got it."""
    certificate = forget("ann-0001")
    before = everything(shop)
    assert forget("ann-0001", "asked again") == certificate
    said = rf"was erased at .* \(certificate {certificate.erasure_id}\); nothing has come back"
    assert re.search(said, caplog.text)
    assert everything(shop) == before


def test_a_day_later_nobody_is_told_who_stands_in_for_a_person(shop: Connection) -> None:
    """Who knows an id could find the person's orders in the marts by it."""
    forget("ann-0001")
    with shop.cursor() as cursor:
        cursor.execute("update ops.erasures set erased_at = erased_at - interval '25 hours'")
    with connect("test") as connection:
        sandbox.create(connection, "preview_ana", "a test")
    with pytest.raises(EraseError, match="nothing has come back"):
        forget("ann-0001")
    with connect("test") as connection:
        assert [use.sandbox.name for use in sandbox.all_of(connection)] == ["preview_ana"]


def test_sandboxes_that_a_killed_erasure_left_are_dropped_by_the_next(
    shop: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect("test") as connection:
        sandbox.create(connection, "preview_ana", "a test")
    with monkeypatch.context() as killed:
        killed.setattr(erasure, "_drop_sandboxes", lambda _: None)
        forget("ann-0001")
    assert forget("ann-0001").dropped == ("preview_ana",)


def test_sandboxes_that_a_killed_erasure_of_who_came_back_left_are_dropped_by_the_next(
    shop: Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forget("ann-0001")
    with shop.cursor() as cursor:
        cursor.execute("update raw.orders set user_id = 'ann-0001' where order_id = 'o1'")
    with connect("test") as connection:
        sandbox.create(connection, "preview_ana", "a test")
    with monkeypatch.context() as killed:
        killed.setattr(erasure, "_drop_sandboxes", lambda _: None)
        assert command.main(["--again"]) == 0
    assert command.main(["--again"]) == 0
    said = "Erased again: 0. Dropped, as they may have held who was erased: preview_ana. They can be built again."
    assert capsys.readouterr().err.splitlines()[-2:] == ["Erased again: 1.", said]
    assert ask(shop, "select nspname from pg_namespace where nspname ~ '^preview_'") == []


def test_who_was_brought_back_past_our_loaders_gets_the_same_stand_in(shop: Connection) -> None:
    forget("ann-0001")
    with shop.cursor() as cursor:
        cursor.execute("update raw.orders set user_id = 'ann-0001' where order_id = 'o1'")
    forget("ann-0001")
    assert ask(shop, "select count(distinct user_id) from raw.orders where order_id in ('o1', 'o2')") == [(1,)]
    assert ask(shop, "select count(*) from ops.erasures") == [(2,)]


def test_while_a_run_is_under_way_it_is_refused(shop: Connection) -> None:
    lease.take(shop, "run 1")
    with pytest.raises(EraseError, match="run 1 is under way"):
        forget("ann-0001")


def test_killed_near_its_end_it_leaves_everything_as_it_was(shop: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(shop)

    def kill(cursor: psycopg2.extensions.cursor, *_: object) -> None:
        with shop.cursor() as other:
            other.execute("select pg_terminate_backend(%s)", (cursor.connection.info.backend_pid,))
        cursor.execute("select 1")
        raise AssertionError

    monkeypatch.setattr(erasure, "_look", kill)
    with pytest.raises(EraseError, match="Nothing was erased"):
        forget("ann-0001")
    assert everything(shop) == before
    monkeypatch.undo()
    forget("ann-0001")


def test_runs_and_loads_wait_for_it(shop: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []

    def look(*_: object) -> None:
        with connect("test") as other, other.cursor() as waiting:
            waiting.execute("set lock_timeout = '100ms'")
            try:
                lease.take(other, "run 2")
            except lease.LeaseHeldError:
                waited.append("run 2")

    monkeypatch.setattr(erasure, "_look", look)
    forget("ann-0001")
    assert waited == ["run 2"]


def test_a_column_that_nobody_marked_stops_it_and_is_named(shop: Connection) -> None:
    with shop.cursor() as cursor:
        cursor.execute("create table analytics.letters as select 'to: ' || email as addressee from raw.users")
    before = everything(shop)
    with pytest.raises(EraseError, match=r"analytics.letters would still name the person, in addressee; nothing"):
        forget("ann-0001")
    assert everything(shop) == before


def test_a_column_of_a_type_of_ones_own_stops_it_as_well(shop: Connection) -> None:
    with shop.cursor() as cursor:
        cursor.execute(
            "create type analytics.contact as (email text);"
            " create table analytics.letters as select row(email)::analytics.contact as addressee from raw.users"
        )
    with pytest.raises(EraseError, match=r"analytics.letters would still name the person, in addressee"):
        forget("ann-0001")


def test_a_key_that_can_not_be_a_stand_ins_is_refused_and_named(shop: Connection) -> None:
    with shop.cursor() as cursor:
        cursor.execute("create table analytics.visits as select gen_random_uuid() as user_id from raw.users")
    before = everything(shop)
    with pytest.raises(
        EraseError, match=r"analytics.visits.user_id is marked as a key of people and is of the type uui"
    ):
        forget("ann-0001")
    assert everything(shop) == before


def test_what_is_materialized_forgets_the_person_too(shop: Connection) -> None:
    with shop.cursor() as cursor:
        cursor.execute(
            "create materialized view analytics.mails as select email as addressee from raw.users;"
            " create materialized view analytics.few_mails as select * from analytics.mails; analyze"
        )
    forget("ann-0001")
    assert ask(shop, "select count(*) from analytics.few_mails") == [(3,)]
    assert [value for value in ANN if value in everything(shop)] == []


def test_a_street_in_which_somebody_else_lives_too_is_no_hindrance(shop: Connection) -> None:
    with shop.cursor() as cursor:
        cursor.execute("update raw.addresses set address = '1 Elm Street, floor 2' where address_id = 'work'")
    forget("ann-0001")
    assert ask(shop, "select address from raw.addresses where address is not null") == [("1 Elm Street, floor 2",)]


def test_what_holds_no_value_is_ruled_out_before_words_are_looked_for(shop: Connection) -> None:
    """Nearly all rows of a warehouse are, and to look for words in them takes six times as long."""
    about = texts.About(Person("ann-0001", values={"tracking_id": {uuid4().hex for _ in range(40)}}))
    words = sql.Literal(texts._pattern(about._telling, texts._IN_POSTGRES))
    with shop.cursor() as cursor:
        cursor.execute(
            "create temporary table pages as select gen_random_uuid()::text as url from generate_series(1, 700)"
        )

        def seconds(condition: sql.Composable) -> float:
            took = []
            for _ in range(3):
                began = time.monotonic()
                cursor.execute(sql.SQL("select bool_or({}) from pages").format(condition))
                took.append(time.monotonic() - began)
                assert cursor.fetchone() == (False,)
            return min(took)

        assert seconds(about.told_in(sql.Identifier("url"))) < seconds(sql.SQL("url ~* {}").format(words)) / 2


def test_signs_that_a_pattern_reads_are_letters_of_a_value(shop: Connection) -> None:
    reason = r"50%_of \d asked, and 50 x of d"
    with shop.cursor() as cursor:
        cursor.execute("update raw.addresses set address = %s where address_id = 'home'", (r"50%_of \d",))
    publications.decide(shop, "hold", None, "ada", reason)
    publications.decide(shop, "hold", None, "ada", "50 x of d")
    forget("ann-0001")
    assert ask(shop, "select reason from ops.decisions order by decision_id") == [
        ("[erased] asked, and 50 x of d",),
        ("50 x of d",),
    ]


def somebody_elses_code(connection: Connection) -> None:
    """A role with a schema of its own, and a function in it that leaves a trace."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            do $$ begin create role etl login; exception when duplicate_object then null; end $$;
            create schema etl authorization etl;
            set role etl;
            create sequence etl.ran;
            create type etl.kind as enum ('lead');
            create function etl.told(etl.kind) returns text language plpgsql as
                $$ begin perform nextval('etl.ran'); return 'lead'; end $$;
            create cast (etl.kind as text) with function etl.told(etl.kind);
            create table etl.leads as select 'ann@example.com' as email, 'lead'::etl.kind as kind;
            create function etl.on_change() returns trigger language plpgsql as
                $$ begin perform nextval('etl.ran'); return new; end $$;
            reset role;
            """
        )


def test_what_is_in_schemas_of_others_is_not_read_and_these_are_named(shop: Connection) -> None:
    somebody_elses_code(shop)
    assert forget("ann-0001").not_looked_at == ("etl",)
    assert ask(shop, "select is_called from etl.ran") == [(False,)]


def test_sandboxes_are_dropped_but_for_one_that_somebody_works_in(
    shop: Connection, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By the administrator, and in the UI by who develops, since who builds can't."""
    caplog.set_level(logging.INFO)
    roles.ensure(shop, login=True)
    developer = replace(warehouse, user=roles.DEVELOPER)
    for name in ("preview_ana", "preview_ana_was"):
        with connect("test", developer) as connection, connection.cursor() as cursor:
            sandbox.create(connection, name, "a test")
            cursor.execute(f"create table {name}_staging.people as select * from raw.users")
    with connect("test", developer) as at_work:
        sandbox.create(at_work, "preview_ana", "a test")
        certificate = forget("ann-0001")
        assert (certificate.dropped, certificate.not_looked_at) == (("preview_ana_was",), ("preview_ana_staging",))
        assert json.loads(certificate.as_json())["dropped"] == ["preview_ana_was"]
    monkeypatch.setenv("WAREHOUSE_USER", TRANSFORMER)
    monkeypatch.setenv("WAREHOUSE_DEVELOPER_USER", roles.DEVELOPER)
    erase_in_airflow("grace", "eve-0003", "asked for it")
    assert '"not_looked_at": []' in caplog.text
    assert ask(shop, "select nspname from pg_namespace where nspname ~ '^preview_'") == []


@pytest.mark.parametrize(
    "planted",
    [
        "grant usage on schema etl to postgres; create trigger planted before update on raw.users for each row"
        " execute function etl.on_change()",
        "alter table analytics.dim_users add kind etl.kind default 'lead'",
    ],
)
def test_where_it_would_run_somebody_elses_code_it_is_refused(shop: Connection, planted: str) -> None:
    somebody_elses_code(shop)
    with shop.cursor() as cursor:
        cursor.execute(planted)
    with pytest.raises(EraseError, match=r"would run somebody else's code: .*\betl\b.*Nothing was erased"):
        forget("ann-0001")
    assert ask(shop, "select is_called from etl.ran") == [(False,)]


@pytest.mark.parametrize("street", ["model.greenery.orders", "greenery.orders", "manual 1"])
def test_a_street_that_is_called_like_a_key_changes_texts_and_no_keys(shop: Connection, street: str) -> None:
    with shop.cursor() as cursor:
        cursor.execute("update raw.addresses set address = %s where address_id = 'home'", (street,))
    runs.begin(shop, "manual 1", "release")
    with shop.cursor() as cursor:
        cursor.execute(
            """
            insert into ops.buffers (schema_oid, run_id, since, rebuild, scan)
            values (1, 'manual 1', now(), false, false);
            insert into ops.buffer_models (schema_oid, unique_id, identifier, rebuilt)
            values (1, 'model.greenery.orders', 'orders', true);
            insert into ops.snapshots (name, rows, config, run_id)
            values ('orders', 1, '{"schema": "greenery"}', 'manual 1');
            """
        )
    found = NodeResult(
        "model.greenery.orders", "model", "orders", "success", None, None, f"in {street}", 1, None, None, []
    )
    node_results.record(shop, "manual 1", "greenery.orders", 1, [found])
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": f"of {street}"}}]
    outbox.keep(shop, "manual 1", "engineers", Message("published", f"of {street}", "", blocks), waiting=False)
    before = {
        table: keys_of(shop, table) for table in ("buffer_models", "snapshots", "node_results", "messages", "runs")
    }
    forget("ann-0001")
    assert {table: keys_of(shop, table) for table in before} == before
    assert ask(shop, "select message from ops.node_results") == [("in [erased]",)]
    assert ask(shop, "select headline, blocks from ops.messages") == [
        ("of [erased]", [{"type": "section", "text": {"type": "mrkdwn", "text": "of [erased]"}}])
    ]


@pytest.mark.parametrize("street", ["Greenery", "orders", "package_shipped"])
def test_a_street_of_one_word_is_a_word_like_any_other_in_texts(shop: Connection, street: str) -> None:
    with shop.cursor() as cursor:
        cursor.execute("update raw.addresses set address = %s where address_id = 'home'", (street,))
        cursor.execute("update raw.events set event_type = 'package_shipped'")
    publications.decide(shop, "hold", None, "ada", f"{street} are odd")
    forget("ann-0001")
    assert ask(shop, "select reason from ops.decisions") == [(f"{street} are odd",)]
    assert ask(shop, "select count(*) from raw.addresses where address is not null") == [(1,)]


def keys_of(connection: Connection, table: str) -> list[tuple]:
    """The rows of a table of `ops` without what is prose."""
    prose = list(texts.PROSE.get(table, ()))
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("select to_jsonb(held) - %s::text[] from ops.{} as held").format(sql.Identifier(table)), (prose,)
        )
        return cursor.fetchall()


def test_every_text_of_ops_is_known_as_prose_or_as_something_else(db: Connection) -> None:
    """Into a new column that people or runs write sentences into, an erasure has to look: it goes into PROSE."""
    found = ask(
        db,
        """
        select format('%s.%s', relname, attname)
        from pg_attribute
        join pg_class on pg_class.oid = attrelid
        where relnamespace = 'ops'::regnamespace and relkind = 'r' and attnum > 0 and not attisdropped
            and atttypid = any('{text,varchar,json,jsonb,text[]}'::regtype[])
        """,
    )
    prose = {f"{table}.{column}" for table, columns in texts.PROSE.items() for column in columns}
    assert {name for (name,) in found} - prose == {*NO_PROSE.split()}
    assert prose <= {name for (name,) in found}


def test_what_was_observed_of_a_value_of_the_person_goes(shop: Connection) -> None:
    """Of a column of few values that nobody has marked as personal so far."""
    runs.begin(shop, "run 1", "release")
    with shop.cursor() as cursor:
        cursor.execute(
            """
            insert into ops.observations (unique_id, column_name, measure, item, day, value, run_id)
            select 'source.s.t', 'sent_by', 'share', item, '2026-03-01', 0.5, 'run 1'
            from unnest('{ann@example.com,bob@example.com}'::text[]) as item;
            insert into ops.unusual
                (run_id, unique_id, column_name, measure, item, day, expected, least, most, score, since, because)
            select
                'run 1', 'source.s.t', 'sent_by', 'share', item, '2026-03-01', 1, 0, 2, 9, '2026-03-01',
                jsonb_build_object('item', explains)
            from (values ('ann@example.com', ''), ('bob@example.com', 'Ann@Example.com'), ('eve', 'bob'))
                as found (item, explains);
            insert into ops.proofs (result)
            select jsonb_build_object('false_alarms', jsonb_build_array(jsonb_build_object('item', item)))
            from unnest('{ann@example.com,bob@example.com}'::text[]) as item
            """
        )
    certificate = forget("ann-0001")
    assert ask(shop, "select result #>> '{false_alarms,0,item}' from ops.proofs order by 1") == [
        ("[erased]",),
        ("bob@example.com",),
    ]
    assert ask(shop, "select item from ops.observations") == [("bob@example.com",)]
    assert ask(shop, "select item from ops.unusual") == [("eve",)]
    assert (certificate.changed["ops.observations"], certificate.changed["ops.unusual"]) == (1, 2)


def test_receipts_have_the_stand_in_for_the_person(shop: Connection) -> None:
    """Rows behind a figure that moved, by keys of whatever kind, and what was written of them and of SQL."""
    runs.begin(shop, "run 1", "release")
    with shop.cursor() as cursor:
        publication_id, _ = publications.note(cursor, "run 1", "analytics", as_of=None, decision=None, notes=[])
        cursor.execute(
            """
            with moved as (
                insert into ops.moves
                    (publication_id, metric, period, starts, told, value, usual, adds_up, parts, causes)
                values (%(id)s, 'users', 'day', '2026-03-01', 2, 3, false, true, '[{"keys": ["ann-0001", "o1"]}]', '[]')
                returning move_id
            )

            insert into ops.moved_rows (move_id, side, unique_id, key_column, key, what, after)
            select move_id, side, 'model.m', key_column, key, 'late', 1
            from moved, (values
                ('numerator', 'user_id', 'ann-0001'), ('numerator', 'user_product_id', 'ann-0001/fern'),
                ('numerator', 'user_id', 'bob-0002'), ('numerator', 'address_id', 'home'),
                ('numerator', 'address_id', 'work'), ('denominator', 'order_id', 'home'),
                ('numerator', 'email', 'ann@example.com'), ('denominator', 'lower(phone_number)', '555-0001')
            ) as found (side, key_column, key);
            insert into ops.explanations values (%(id)s, 'users', '2026-03-01', '{"label": "ann@example.com"}');
            insert into ops.code values ('a hash', 'select ann@example.com')
            """,
            {"id": publication_id},
        )
    certificate = forget("ann-0001")
    assert [value for value in ANN if value in everything(shop)] == []
    [(user, home)] = ask(shop, "select user_id, address_id from raw.users where starts_with(user_id, 'erased-')")
    assert set(ask(shop, "select key_column, key from ops.moved_rows")) == {
        ("user_id", user),
        ("user_product_id", f"{user}/fern"),
        ("user_id", "bob-0002"),
        ("address_id", home),
        ("address_id", "work"),
        ("order_id", "home"),
    }
    assert ask(shop, "select parts #>> '{0,keys}' from ops.moves") == [('["[erased]", "o1"]',)]
    assert {name: rows for name, rows in certificate.changed.items() if name.startswith("ops.")} == {
        "ops.moved_rows": 5,
        "ops.moves": 1,
        "ops.explanations": 1,
        "ops.code": 1,
    }


def test_names_go_out_of_a_text_that_names_the_person_and_stay_elsewhere(shop: Connection) -> None:
    publications.decide(shop, "hold", None, "ada", "Ann  complained in May")
    publications.decide(shop, "hold", None, "ada", "ann, ANN@example.com: <May> & 1 Elm Street")
    publications.decide(shop, "hold", None, "ada", "Ann was here")
    answers.give(shop, Kind.MINE, About("model.m"), "ada", "asked ann@example.com", name="555-0001")
    forget("ann-0001")
    assert ask(shop, "select reason, name_given, answered_by from ops.answers") == [
        ("asked [erased]", "[erased]", "ada")
    ]
    assert ask(shop, "select reason from ops.decisions order by decision_id") == [
        ("[erased]  complained in [erased]",),
        ("[erased], [erased]: <[erased]> & [erased]",),
        ("Ann was here",),
    ]


def test_samples_that_have_a_value_of_the_person_go(shop: Connection) -> None:
    runs.begin(shop, "run 1", "release")
    with shop.cursor() as cursor:
        cursor.execute(
            "insert into ops.node_results (run_id, task_id, attempt, unique_id, resource_type, name, status, message,"
            " seconds, failing_rows) values ('run 1', 't', 1, 'test.a', 'test', 'a', 'fail', 'key (ann-0001)', 1, %s)",
            (json.dumps([{"who": "Ann"}, {"id": "ann-0001/fern"}, {"id": "o3"}]),),
        )
    forget("ann-0001")
    assert ask(shop, "select message, failing_rows from ops.node_results") == [
        ("key ([erased])", [{"id": "[erased]/fern"}, {"id": "o3"}])
    ]


def test_a_view_of_the_shops_own_has_to_let_go_first(shop: Connection) -> None:
    with shop.cursor() as cursor:
        cursor.execute(
            "create schema erp; alter table raw.users set schema erp; create view raw.users as table erp.users"
        )
    before = everything(shop)
    with pytest.raises(EraseError, match=r"raw.users is a view of the shop's own table"):
        forget("ann-0001")
    assert everything(shop) == before


def test_before_a_publish_noted_what_is_personal_it_is_refused(shop: Connection) -> None:
    with shop.cursor() as cursor:
        cursor.execute("delete from ops.personal_columns")
        runs.begin(shop, "run 1", "release")
        cursor.execute("insert into ops.publications (run_id, schema_oid, data_as_of) values ('run 1', 0, now())")
    with pytest.raises(EraseError, match="Trigger greenery_daily"):
        forget("ann-0001")


def test_a_project_that_marks_nothing_has_said_so(shop: Connection) -> None:
    with shop.cursor() as cursor:
        personal.note(cursor, {})
        cursor.execute("drop table analytics_next.int_first_purchases")
        runs.begin(shop, "run 1", "release")
        cursor.execute("insert into ops.publications (run_id, schema_oid, data_as_of) values ('run 1', 0, now())")
    forget("ann-0001")


def test_who_builds_may_erase_and_do_nothing_else_to_raw(shop: Connection, warehouse: Warehouse) -> None:
    """An erasure in Airflow is a task's, which works as `greenery_transformer`."""
    roles.ensure(shop, login=True)
    builder = Warehouse(warehouse.host, warehouse.port, warehouse.database, TRANSFORMER, "")
    erasure.erase("ann-0001", "asked for it", lambda _: "ada", builder)
    left = "\n".join(row for row in everything(shop).splitlines() if not row.startswith("pg_catalog."))  # raw's
    assert [value for value in ANN if value in left] == []
    for statement in (
        "update raw.orders set order_total = 0",
        "delete from raw.orders",
        "update raw.events set event_type = ''",
        "insert into raw.orders (order_id) values ('o9')",
        "update raw.products set price = 0",
        "delete from raw.users",
        "update raw.users set created_at = now()",
        "truncate raw.users",
    ):
        with (
            connect("test", builder) as connection,
            connection.cursor() as cursor,
            pytest.raises(psycopg2.errors.InsufficientPrivilege),
        ):
            cursor.execute(statement)
    # The loader knows of the stand-ins, by hash alone.
    loader = Warehouse(warehouse.host, warehouse.port, warehouse.database, LOADER, "")
    with connect("test", loader) as connection:
        assert loaded(connection, SHOP).changed == 0


def test_by_hand_in_the_ui_it_is_of_who_triggered_it_and_the_log_names_nobody(
    shop: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    erase_in_airflow("grace", " ann-0001 ", "Ann May asked")
    assert ask(shop, "select erased_by, reason from ops.erasures") == [("grace", "[erased] asked")]
    assert '"erased_by": "grace"' in caplog.text
    assert [value for value in ANN if value in caplog.text] == []


@pytest.mark.parametrize(("user_id", "said"), [(None, "takes the id of a user"), ("nobody", "No user has this id")])
def test_what_the_form_lacks_fails_the_task_for_good(shop: Connection, user_id: str | None, said: str) -> None:
    with pytest.raises(AirflowFailException, match=said):
        erase_in_airflow("grace", user_id, "why")


def test_without_the_rights_it_says_who_has_them(shop: Connection, warehouse: Warehouse) -> None:
    roles.ensure(shop, login=True)
    with shop.cursor() as cursor:
        cursor.execute(f"revoke all on raw.users from {TRANSFORMER}; grant select on raw.users to {TRANSFORMER}")
    builder = Warehouse(warehouse.host, warehouse.port, warehouse.database, TRANSFORMER, "")
    with pytest.raises(EraseError, match=r"permission denied for table users, so nothing was erased. Let the admin"):
        erasure.erase("ann-0001", "asked for it", lambda _: "ada", builder)


def test_after_a_restore_certificates_are_carried_out_again(
    shop: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--user", "ann-0001", "--reason", "asked for it"]) == 0
    out = capsys.readouterr().out
    assert [value for value in ANN if value in out] == []
    (tmp_path / "certificate.json").write_text(out)
    [(stand_in,)] = ask(shop, "select stand_in from ops.stand_ins where table_name = 'users'")
    with shop.cursor() as cursor:  # as the backup and the shop have it
        cursor.execute("delete from ops.stand_ins; delete from ops.erasures")
    loaded(shop, SHOP)
    assert "ann@example.com" in everything(shop)
    for _ in range(2):
        assert command.main(["--again", str(tmp_path / "certificate.json")]) == 0
    assert [value for value in ANN if value in everything(shop)] == []
    assert ask(shop, "select distinct user_id from raw.orders where order_id in ('o1', 'o2')") == [(stand_in,)]
    assert capsys.readouterr().err.splitlines()[-2:] == ["Erased again: 1.", "Erased again: 0."]
    assert loaded(shop, SHOP).changed == 0


def test_a_certificate_of_another_warehouse_is_refused(
    shop: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--user", "ann-0001", "--reason", "asked for it"]) == 0
    told = json.loads(capsys.readouterr().out) | {"key": "another"}
    (tmp_path / "certificate.json").write_text(json.dumps(told))
    assert command.main(["--again", str(tmp_path / "certificate.json")]) == 1
    assert "made with another key" in capsys.readouterr().err


def test_the_command_says_what_it_did_and_names_nobody(shop: Connection, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--user", "ann-0001", "--reason", "  "]) == 1
    assert "takes a reason" in capsys.readouterr().err
    assert command.main(["--user", "ann-0001", "--reason", "asked for it"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["changed"]["raw.orders"] == 2
    assert json.loads(said.out)["erased_by"].startswith("postgres (")
    assert "2 in raw.orders" in said.err
    assert command.main(["--user", "nobody", "--reason", "asked for it"]) == 1
    assert "No user has this id" in capsys.readouterr().err
