"""Where an erasure looks for a person, what stops it there, and what is not its to touch."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
from psycopg2.extensions import connection as Connection

from include.erase.by_hand import erase_in_airflow
from include.erase.places import EraseError
from include.results import runs
from include.settings import Warehouse
from include.warehouse import connect, personal, roles, sandbox
from include.warehouse.roles import TRANSFORMER
from tests.include.erase.conftest import ANN, ask, everything, forget

pytestmark = pytest.mark.db


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
