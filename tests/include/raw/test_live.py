"""The live load follows a shop that is being written to, through kills of either side, to the last row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from include import raw, settings
from include.demo_shop import demo
from include.erase import erasure
from include.local import postgres
from include.raw import lease, live, mapping, shop_database
from include.raw.contract import TABLES
from include.raw.load import LoadError
from include.settings import PROJECT_ROOT, Warehouse
from include.warehouse import connect, migrate, roles
from tests.include.raw.conftest import connect_to, contents, query, value
from tests.waiting import wait_for

pytestmark = pytest.mark.db

LIMIT_SECONDS = 120
# Reads the shop's tables, and may do nothing else.
READER = "shop_reader"
# Plays days and edits them, some a second; one row in the making is nearly always left open, so that it is committed
# after others that were begun later. Without the pause it would keep a core busy.
WRITER = """
import time
from include.demo_shop import demo
from include.warehouse import connect

with connect() as days, connect() as edits, connect() as slow:
    number = 0
    while True:
        number += 1
        late, edit = slow.cursor(), edits.cursor()
        late.execute(
            "insert into raw.promos select 'late ' || %s, 1, 'active', now() on conflict do nothing",
            (str(time.time()),),
        )
        demo.play_day(days, demo.next_day(days), orders_per_day=15)
        days.commit()
        edit.execute(
            "delete from raw.events where event_id in (select event_id from raw.events order by random() limit 3)"
        )
        edit.execute(
            "update raw.users set email = %s where user_id = (select max(user_id) from raw.users)", (f"{number}@x",)
        )
        edit.execute(
            "with gone as ("
            " delete from raw.orders where order_id = (select min(order_id) from raw.orders) returning order_id),"
            " items as (delete from raw.order_items using gone where order_items.order_id = gone.order_id)"
            " delete from raw.events using gone where events.order_id = gone.order_id"
        )
        edits.commit()
        time.sleep(0.2)
        slow.commit()
"""


@pytest.fixture
def shop(server: postgres.LocalPostgres) -> Iterator[Warehouse]:
    """The database of a running shop, which has had one day."""
    postgres.ensure_database(server, "live_shop")
    where = server.database("live_shop")
    with closing(connect_to(where)) as connection, connection:
        # Long ago: the writer plays a year of days in a minute, and none is played that is not over.
        demo.play_day(connection, 1, orders_per_day=15, first_day=date(2000, 1, 1))
        execute(connection, f"create role {READER} login; grant usage on schema raw to {READER}")
        execute(connection, f"grant select on all tables in schema raw to {READER}")
    yield where
    with postgres.admin(server) as cursor:
        cursor.execute("drop database live_shop with (force)")
        cursor.execute(f"drop role {READER}")


@pytest.fixture
def replica(
    server: postgres.LocalPostgres, shop: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Connection]:
    """An autocommit connection to the warehouse that is to follow the shop; the environment names both."""
    postgres.ensure_database(server, "live_warehouse")
    where = server.database("live_warehouse")
    for name, setting in where.environment().items():
        monkeypatch.setenv(name, setting)
    monkeypatch.setenv("SHOP_DATABASE_URL", f"postgresql://{READER}@/{shop.database}?host={shop.host}&port={shop.port}")
    monkeypatch.setenv("SHOP_DATABASE_SCHEMA", "raw")
    monkeypatch.setenv("GREENERY_DBT_DIR", str(tmp_path))
    migrate.upgrade()
    with closing(connect_to(where)) as connection:
        connection.autocommit = True
        yield connection
    with postgres.admin(server) as cursor:
        cursor.execute("drop database live_warehouse with (force)")


@pytest.fixture
def source(shop: Warehouse) -> Iterator[Connection]:
    """An autocommit connection to the shop."""
    with closing(connect_to(shop)) as connection:
        connection.autocommit = True
        yield connection


def execute(connection: Connection, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def python(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A Python of its own."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=PROJECT_ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def writing(shop: Warehouse, source: Connection) -> Iterator[None]:
    """A shop that is written to for the time of the block, and then killed in the middle of it."""
    before = value(source, "select max(day) from raw.shop_days")
    writer = python("-c", WRITER, **shop.environment())
    try:
        wait_for(lambda: value(source, "select max(day) from raw.shop_days") > before, "it writes")
        yield
        assert writer.poll() is None, writer.stdout.read()
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()


def load_in_a_process() -> None:
    loader = python("-m", "include.raw.live")
    said, _ = loader.communicate(timeout=LIMIT_SECONDS)
    assert loader.returncode == 0, said


def kill_a_load(at: Callable[[], object], what: str) -> None:
    """Begin a load and kill it with no last word, as soon as a condition holds."""
    loader = python("-m", "include.raw.live")
    try:
        wait_for(lambda: at() or loader.poll() is not None, what)
        assert loader.poll() is None, loader.stdout.read()
    finally:
        loader.send_signal(signal.SIGKILL)
        loader.communicate()


def assert_one_moment(replica: Connection) -> None:
    """What refers to something finds it, which only holds within one moment of the shop."""
    for table, column in (("order_items", "order_id"), ("events", "order_id")):
        assert (
            value(
                replica,
                f"select count(*) from raw.{table} as child where {column} is not null"
                f" and not exists (select from raw.orders where order_id = child.{column})",
            )
            == 0
        )


def test_whatever_is_killed_the_replica_is_the_shop_in_the_end(
    shop: Warehouse, source: Connection, replica: Connection
):
    with writing(shop, source):
        load_in_a_process()
        assert_one_moment(replica)

        held = contents(replica, stamps=True)
        carried = "select exists (select from pg_class where relname = 'events_rows')"
        with closing(connect_to_same(replica)) as other:
            # So that no load is over before it is killed.
            execute(other, "begin; lock table raw.orders in access exclusive mode")
            kill_a_load(lambda: value(replica, carried), "rows are being carried")
            other.rollback()
        wait_for(lambda: not value(replica, LOADS), "the server noticed")
        assert contents(replica, stamps=True) == held

        with closing(connect_to_same(replica)) as other:
            execute(other, "begin; lock table raw.orders in access exclusive mode")
            kill_a_load(lambda: value(replica, WAITS), "rows are being written")
            other.rollback()
        wait_for(lambda: not value(replica, LOADS), "the server noticed")
        assert contents(replica, stamps=True) == held
        load_in_a_process()
        assert_one_moment(replica)
    with writing(shop, source):
        load_in_a_process()
        assert_one_moment(replica)

    load_in_a_process()
    assert contents(replica) == contents(source)
    assert value(replica, "select count(*) from raw.deletions where table_name = 'events'") > 0
    assert value(replica, "select count(*) from raw.deletions where table_name = 'order_items' and key like '%/%'") > 0
    assert live.load_shop().changed == 0


WAITS = (
    "select exists (select from pg_stat_activity where application_name = 'greenery live load'"
    " and wait_event_type = 'Lock' and datname = current_database())"
)
LOADS = (
    "select exists (select from pg_stat_activity"
    " where application_name = 'greenery live load' and datname = current_database())"
)


def connect_to_same(connection: Connection) -> Connection:
    info = connection.info
    return connect_to(Warehouse(info.host, info.port, info.dbname, info.user, ""))


def test_only_what_changed_is_stamped_and_noted(source: Connection, replica: Connection):
    live.load_shop()
    before = contents(replica, stamps=True)
    execute(source, "update raw.users set email = 'new' where user_id = (select min(user_id) from raw.users)")
    execute(source, "delete from raw.order_items where order_id = (select min(order_id) from raw.orders)")
    execute(source, "update raw.products set price = price")  # written, and the same
    execute(source, "insert into raw.promos values ('winter: 5%', 5.123456789012, 'active', now())")
    report = live.load_shop()

    gone = len(before["order_items"]) - value(source, "select count(*) from raw.order_items")
    assert report.tables["users"].updated == report.tables["users"].stamped == 1
    assert (report.tables["order_items"].deleted, report.tables["promos"].inserted) == (gone, 1)
    assert report.changed == 2 + gone
    assert contents(replica) == contents(source)
    after = contents(replica, stamps=True)
    assert len(set(after["users"]) - set(before["users"])) == 1
    assert after["products"] == before["products"]
    assert value(replica, "select count(*) from raw.deletions") == gone
    assert query(
        replica, "select table_name, rows from raw.loads where loaded_at = %s order by 1", report.loaded_at
    ) == [(name, report.tables[name].stamped) for name in sorted(TABLES)]


def test_what_was_committed_late_is_not_missed(shop: Warehouse, source: Connection, replica: Connection):
    with closing(connect_to(shop)) as slow:
        execute(slow, "update raw.users set email = 'slow'")
        execute(source, "update raw.promos set discount = discount + 1")
        live.load_shop()
        slow.commit()
    execute(source, "update raw.promos set discount = discount + 1")
    live.load_shop()
    assert contents(replica) == contents(source)


def test_what_raw_lost_is_found_by_counting_and_what_was_edited_there_by_comparing_all(
    source: Connection, replica: Connection
):
    live.load_shop()
    execute(replica, "delete from raw.users where user_id = (select min(user_id) from raw.users)")
    live.load_shop()
    assert contents(replica) == contents(source)
    execute(replica, "update raw.users set email = 'edited'")
    assert live.load_shop().changed == 0
    execute(replica, "update raw.shop_mark set compared_at = now() - interval '8 days'")
    live.load_shop()
    assert contents(replica) == contents(source)


def test_another_server_or_one_that_was_set_back_is_compared_as_a_whole(source: Connection, replica: Connection):
    live.load_shop()
    for lie in ("source = 'another'", "position = position + 1000000"):
        execute(replica, f"update raw.users set email = 'edited'; update raw.shop_mark set {lie}")
        live.load_shop()
        assert contents(replica) == contents(source)


def test_a_table_in_the_place_of_another_is_compared_as_a_whole(source: Connection, replica: Connection):
    execute(source, "create table raw.others as select * from raw.users; update raw.others set email = 'other'")
    execute(source, f"grant select on raw.others to {READER}")
    live.load_shop()
    execute(source, "alter table raw.users rename to former; alter table raw.others rename to users")
    live.load_shop()
    assert contents(replica) == contents(source)


def test_after_a_load_of_something_else_all_is_compared(source: Connection, replica: Connection):
    live.load_shop()
    execute(replica, "update raw.users set email = 'other'; insert into raw.loads values ('users', now(), 1, 'other')")
    live.load_shop()
    assert contents(replica) == contents(source)


def test_a_view_of_the_shops_is_refused(source: Connection, replica: Connection):
    execute(source, "alter table raw.users rename to people; create view raw.users as select * from raw.people")
    with pytest.raises(LoadError, match=r"raw\.users is no table, .*raw_mapping\.yml"):
        live.load_shop()


@pytest.mark.usefixtures("replica")
def test_the_snapshot_outlasts_an_impatient_shop(source: Connection):
    execute(source, "alter database live_shop set idle_in_transaction_session_timeout = '200ms'")
    with shop_database.reading(settings.shop_database_url()) as shop:
        execute(source, "select pg_sleep(0.4)")  # the warehouse takes longer than the shop has patience
        shop.cursor.execute("select 1")


def test_a_loader_with_no_other_rights_loads_where_the_roles_were_made(
    source: Connection, replica: Connection, monkeypatch: pytest.MonkeyPatch
):
    with connect() as connection:
        raw.create(connection.cursor())
        roles.ensure(connection, login=True)
    monkeypatch.setenv("WAREHOUSE_LOADER_USER", roles.LOADER)
    live.load_shop()
    assert contents(replica) == contents(source)


# Whatever is carried of events is lost, without an error.
LOSE_EVENTS = """
create function lose() returns trigger language plpgsql as 'begin return null; end';
create function prepare_loss() returns event_trigger language plpgsql as $$
declare
    place regclass;
begin
    for place in
        select objid from pg_event_trigger_ddl_commands()
        where object_type = 'table' and object_identity like 'pg_temp.events_%'
    loop
        execute format('create trigger lose before insert on %s for each row execute function lose()', place);
    end loop;
end $$;
create event trigger prepare_loss on ddl_command_end when tag in ('CREATE TABLE') execute function prepare_loss()
"""


def test_rows_that_did_not_come_are_not_taken_for_gone(source: Connection, replica: Connection):
    live.load_shop()
    before = contents(replica, stamps=True)
    execute(source, "delete from raw.events where event_id = (select min(event_id) from raw.events)")
    execute(replica, LOSE_EVENTS)
    for everything in (False, True):
        with pytest.raises(LoadError, match=r"of [1-9]\d* rows of events 0 came to the warehouse"):
            live.load_shop(everything=everything)
    assert contents(replica, stamps=True) == before


def test_columns_that_come_and_go_are_told_and_a_missing_one_stops_the_load(source: Connection, replica: Connection):
    live.load_shop()
    execute(source, "alter table raw.orders add column gift_note text")
    execute(source, "alter table raw.products alter column inventory type bigint")
    assert live.load_shop().notes == (
        "products: the shop's column inventory is bigint, no longer integer",
        "orders: the shop's column gift_note is new, text",
    )
    assert query(replica, "select table_name, column_name from raw.shop_drift order by 1") == [
        ("orders", "gift_note"),
        ("products", "inventory"),
    ]
    assert live.load_shop().notes == ()
    before = contents(replica, stamps=True)
    execute(source, "alter table raw.orders rename column status to state")
    with pytest.raises(LoadError, match=r"raw\.orders has no column status, which is wanted for orders\.status"):
        live.load_shop()
    assert contents(replica, stamps=True) == before


def test_a_shop_that_is_called_otherwise_is_read_by_its_mapping(
    source: Connection, replica: Connection, tmp_path: Path
):
    live.load_shop()
    execute(source, 'create schema laden; create table laden.gutscheine ("Code" text, rabatt integer, gilt boolean)')
    execute(source, f"grant usage on schema laden to {READER}; grant select on laden.gutscheine to {READER}")
    execute(source, "insert into laden.gutscheine values ('a:b', 250, true)")
    (tmp_path / mapping.FILE).write_text(
        "tables: {promos: {schema: laden, table: gutscheine, columns: {promo_id: Code}, expressions:"
        " {discount: rabatt / 100.0, status: \"case when gilt then 'active' else 'a:off' end\"}}}"
    )
    assert live.load_shop().tables["promos"].inserted == 1
    execute(source, "update laden.gutscheine set gilt = false")
    assert live.load_shop().tables["promos"].updated == 1
    assert contents(replica)["promos"] == [("a:b", 2.5, "a:off")]
    assert mapping.problem(tmp_path) is None


def test_no_load_comes_into_a_run_but_its_own(replica: Connection):
    live.load_shop()
    lease.take(replica, "run one")
    with pytest.raises(LoadError, match="run one reads the raw tables"):
        live.load_shop()
    live.load_shop(reader="run one")


def test_one_live_load_at_a_time(replica: Connection):
    execute(replica, f"select pg_advisory_lock({live._ALONE})")
    with pytest.raises(LoadError, match="another live load is under way"):
        live.load_shop()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:hush@127.0.0.1:1/none",
        "no url",
        "postgresql://ada:hush@[::1/x",
        "postgresql://ada:hush%@127.0.0.1:1/none",
        "postgresql://ada:hush/hush@127.0.0.1:1/none",
        "postgresql://ada:1/hush@127.0.0.1:1/none",
        "postgresql://ada:hush@hush@127.0.0.1:1/none",
        "postgresql://ada:hush@hush:hush@127.0.0.1:1/none",
        "postgresql://ada:hush@x?hush@127.0.0.1:1/none",
        "host=127.0.0.1 port=1 password=hush hush",
    ],
)
def test_a_shop_that_cannot_be_reached_is_said_without_its_password(
    replica: Connection, monkeypatch: pytest.MonkeyPatch, url: str
):
    monkeypatch.setenv("SHOP_DATABASE_URL", url)
    with pytest.raises(LoadError, match="the shop was not loaded, and raw is as it was") as said:
        live.load_shop()
    assert "hush" not in "".join(traceback.format_exception(said.value))


def test_who_was_erased_is_not_loaded_again_and_has_a_stand_in_when_the_shop_deletes_them(
    replica: Connection, source: Connection
) -> None:
    live.load_shop()
    user = value(source, "select min(user_id) from raw.orders")
    names = f"select first_name || last_name || email from raw.users where user_id = '{user}'"
    assert value(replica, names)
    erasure.erase(user, "asked for it", lambda _: "ada")
    stand_in = value(replica, "select stand_in from ops.stand_ins where table_name = 'users'")
    assert live.load_shop().changed == 0
    assert live.load_shop(everything=True).changed == 0
    # The user's row and an order of theirs change, and a new order comes.
    execute(source, f"update raw.users set phone_number = '1' where user_id = '{user}'")
    execute(
        source,
        'insert into raw.orders select (jsonb_populate_record(orders, \'{"order_id": "new"}\')).* from raw.orders'
        f" where user_id = '{user}' limit 1",
    )
    assert live.load_shop().tables["orders"].inserted == 1
    assert value(replica, "select user_id from raw.orders where order_id = 'new'") == stand_in
    execute(source, f"delete from raw.users where user_id = '{user}'")
    for everything in (False, True):
        live.load_shop(everything=everything)
        lacking = "select count(*) from raw.orders left join raw.users using (user_id) where users.user_id is null"
        assert value(replica, lacking) == 0
    assert value(replica, f"select count(*) from raw.users where user_id in ('{user}', '{stand_in}')") == 1


@pytest.mark.parametrize("gone", [0, 1])
def test_what_raw_lacks_is_noticed_beside_a_stand_in_whose_person_the_shop_has_deleted(
    replica: Connection, source: Connection, gone: int
) -> None:
    """Raw has as many users as the shop then; where another one is gone as well, one more."""
    live.load_shop()
    user, other, lost = (row[0] for row in query(source, "select user_id from raw.users order by 1 limit 3"))
    erasure.erase(user, "asked for it", lambda _: "ada")
    execute(source, f"delete from raw.users where user_id = '{user}'")
    live.load_shop()
    execute(replica, f"delete from raw.users where user_id = '{lost}'")
    if gone:
        execute(source, f"delete from raw.users where user_id = '{other}'")
    live.load_shop()
    there = "select user_id from raw.users where not starts_with(user_id, 'erased-') order by 1"
    assert query(replica, there) == query(source, there)
