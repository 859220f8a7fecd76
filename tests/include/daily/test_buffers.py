"""What `ops` remembers of the two buffers, row by row and without dbt: `tests/dbt/test_buffers.py` has builds in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection

from include import raw
from include.daily import buffers
from include.results import runs
from include.settings import BUILT, LIVE

pytestmark = pytest.mark.db

THIS, OTHER = f"to_regnamespace('{BUILT}')::oid", f"to_regnamespace('{LIVE}')::oid"
LONG_AGO = datetime(2021, 2, 12, 6, tzinfo=UTC)


def do(db: Connection, statement: str) -> list[tuple]:
    with db.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def begin(db: Connection, run_id: str, release: str = "release", **asked: bool) -> bool:
    runs.begin(db, run_id, release)
    return buffers.begin(db, run_id, **asked)


def build(db: Connection, model: str, *, relation: str | None = None, checksum: str | None = None) -> None:
    """A model's table, and the word that dbt leaves of it."""
    do(db, f"create table if not exists {BUILT}.{relation or model} ()")
    with db.cursor() as cursor:
        cursor.execute(
            "insert into ops.buffer_models (schema_oid, unique_id, identifier, checksum, rebuilt)"
            f" values ({THIS}, %s, %s, %s, false)"
            " on conflict (schema_oid, unique_id) do update set written = true, built_at = clock_timestamp()",
            (f"model.greenery.{model}", relation, checksum),
        )


def publish(db: Connection, *, proven: bool = True) -> None:
    with db.cursor() as cursor:
        buffers.published(cursor, BUILT, proven=proven)


def of_this(db: Connection, columns: str) -> tuple:
    [row] = do(db, f"select {columns} from ops.buffers where schema_oid = {THIS}")
    return row


def load(db: Connection, promo: str, stamp: str) -> None:
    do(db, f"insert into raw.promos values ('{promo}', 1, 'active', {stamp})")


@pytest.fixture
def sound(db: Connection) -> Connection:
    """A buffer that was built and published, beside another of which nothing is sound, and nothing is asked."""
    with db.cursor() as cursor:
        raw.create(cursor)
    load(db, "old", f"'{LONG_AGO}'")
    assert begin(db, "run 1") is True
    build(db, "orders", checksum="c")
    build(db, "items", relation="order_items", checksum="c")
    build(db, "days")
    publish(db)
    do(db, f"insert into ops.buffers values ({OTHER}, 'run 0', now() - interval '1 day', true, true)")
    do(db, f"update ops.buffers set dirty = true where schema_oid = {OTHER}")
    do(
        db,
        "insert into ops.buffer_models (schema_oid, unique_id, checksum, rebuilt, written, built_at)"
        f" values ({OTHER}, 'model.greenery.gone', 'c', true, true, now() + interval '1 day')",
    )
    do(
        db,
        "insert into ops.watermarks (schema_oid, source, pending, file)"
        f" select {OTHER}, source, '2021-01-01', 1 from ops.watermarks",
    )
    return db


@pytest.mark.parametrize(
    "damage",
    [
        f"update ops.buffers set rebuild = true where schema_oid = {THIS}",
        f"update ops.buffers set dirty = true where schema_oid = {THIS}",
        f"delete from ops.buffers where schema_oid = {THIS}",
        f"update ops.buffer_models set written = true where schema_oid = {THIS} and unique_id like '%days'",
        f"update ops.buffer_models set built_at = clock_timestamp() where schema_oid = {THIS}",
        f"drop table {BUILT}.orders",
        f"alter table {BUILT}.order_items rename to items",
        f"alter table {BUILT}.orders set schema {LIVE}",
        "truncate raw.promos",
        "drop table raw.deletions",
    ],
)
def test_a_buffer_that_is_not_what_was_published_of_it_is_built_anew(sound: Connection, damage: str) -> None:
    do(sound, damage)
    assert begin(sound, "run 2") is True
    assert of_this(sound, "run_id, rebuild, scan") == ("run 2", True, True)


@pytest.mark.parametrize(
    "change",
    [
        "select",
        f"drop table {BUILT}.days",  # which is built in full every day
        "insert into raw.promos values ('new', 1, 'active', now())",
        "delete from raw.promos",
        f"update ops.watermarks set file = null where schema_oid = {THIS}",  # as of a view
    ],
)
def test_a_buffer_that_is_as_it_was_published_takes_changes(sound: Connection, change: str) -> None:
    do(sound, change)
    assert begin(sound, "run 2") is False
    assert of_this(sound, "run_id, rebuild, scan") == ("run 2", False, False)


def test_a_build_in_full_that_is_asked_for_looks_at_everything(sound: Connection) -> None:
    assert begin(sound, "run 2", full_refresh=True) is True
    assert of_this(sound, "rebuild, scan") == (True, True)


def test_what_a_release_wrote_that_says_so_by_its_moment_alone_is_noted_as_written(sound: Connection) -> None:
    do(
        sound,
        "update ops.buffer_models set built_at = clock_timestamp(), written = false where unique_id like '%days'",
    )
    begin(sound, "run 2")
    assert do(sound, f"select unique_id from ops.buffer_models where written and schema_oid = {THIS}") == [
        ("model.greenery.days",)
    ]


def test_all_of_history_is_owed_with_another_release_until_a_run_of_it_is_published(sound: Connection) -> None:
    for run_id in ("run 2", "run 3"):
        begin(sound, run_id, "another release")
        assert of_this(sound, "scan") == (True,)
    publish(sound)
    begin(sound, "run 4", "another release")
    assert of_this(sound, "scan") == (False,)


def test_all_of_history_is_owed_where_nobody_knows_the_former_release_or_nothing_ever_looked(sound: Connection) -> None:
    do(sound, "delete from ops.runs where run_id = 'run 1'")
    begin(sound, "run 2")
    assert of_this(sound, "scan") == (True,)
    publish(sound)
    do(sound, f"update ops.buffers set scanned_at = null where schema_oid = {THIS}")
    begin(sound, "run 3")
    assert of_this(sound, "scan") == (True,)


def test_what_was_published_although_tests_failed_has_not_looked(sound: Connection) -> None:
    before = of_this(sound, "scanned_at, since")
    assert before[0] < before[1]
    begin(sound, "run 2")
    publish(sound, proven=False)
    assert of_this(sound, "scanned_at, scan") == (before[0], True)
    begin(sound, "run 3")
    (since,) = of_this(sound, "since")
    publish(sound)
    assert of_this(sound, "scanned_at, scan") == (since, False)


def test_prices_that_changed_while_a_run_read_them_are_read_again(sound: Connection) -> None:
    do(sound, "insert into raw.products values ('a', 'A', 1, 1, now()), ('b', 'B', 2, 1, now())")
    begin(sound, "run 2")
    publish(sound)
    assert of_this(sound, "rebuild") == (False,)
    begin(sound, "run 3")
    # The same rows in another order are no change.
    do(
        sound,
        "delete from raw.products where product_id = 'a'; insert into raw.products values ('a', 'A', 1, 1, now())",
    )
    do(sound, "update raw.products set _loaded_at = (select min(_loaded_at) from raw.products)")
    begin(sound, "run 3")
    do(sound, "create table other as table raw.products; delete from raw.products")
    do(sound, "insert into raw.products select * from other order by product_id desc")
    publish(sound)
    assert of_this(sound, "rebuild") == (False,)
    begin(sound, "run 4")
    do(sound, "update raw.products set price = 3 where product_id = 'a'")
    publish(sound)
    assert of_this(sound, "rebuild") == (True,)


def watermarks(db: Connection, source: str) -> tuple:
    [row] = do(db, f"select loaded_at, pending from ops.watermarks where schema_oid = {THIS} and source = '{source}'")
    return row


def test_raw_is_followed_up_to_its_newest_stamp_once_that_is_published(sound: Connection) -> None:
    assert watermarks(sound, "promos") == (LONG_AGO, LONG_AGO)
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    load(sound, "new", f"'{an_hour_ago}'")
    load(sound, "from the future", "now() + interval '1 hour'")
    load(sound, "of before our era", "'0044-03-15 BC'")
    begin(sound, "run 2")
    assert watermarks(sound, "promos") == (LONG_AGO, an_hour_ago)
    publish(sound)
    assert watermarks(sound, "promos") == (an_hour_ago, an_hour_ago)
    assert {
        *do(sound, f"select loaded_at::text, pending::date::text from ops.watermarks where schema_oid = {OTHER}")
    } == {("-infinity", "2021-01-01")}


def test_after_the_clock_was_set_back_each_buffer_is_built_anew_that_was_noted_later(sound: Connection) -> None:
    do(sound, f"update ops.buffers set rebuild = false, since = now() + interval '1 hour' where schema_oid = {OTHER}")
    assert begin(sound, "run 2") is False
    assert do(sound, f"select rebuild from ops.buffers where schema_oid = {OTHER}") == [(True,)]
    do(sound, "update ops.buffers set since = now() + interval '1 hour'")
    assert begin(sound, "run 3") is True


@pytest.mark.parametrize(
    ("came", "stamp", "rebuilt"),
    [
        ("loads", "2021-02-12 06:00Z", True),
        ("loads", "2021-02-12 06:01Z", False),
        ("loads", "2021-02-05 06:01Z", True),
        ("loads", "2021-02-05 06:00Z", False),  # of a time of which transactions say nothing
        ("deletions", "2021-02-12 06:00Z", True),
        ("deletions", "2021-02-12 06:01Z", False),
    ],
)
def test_what_came_later_than_it_is_stamped_has_everything_built_anew(
    sound: Connection, came: str, stamp: str, rebuilt: bool
) -> None:
    do(sound, f"insert into raw.deletions values ('promos', 'p', '{LONG_AGO}')")
    begin(sound, "run 2")
    publish(sound)
    row = f"('promos', '{stamp}', 1, 'a test')" if came == "loads" else f"('promos', 'q', '{stamp}')"
    do(sound, f"insert into raw.{came} values {row}")
    assert begin(sound, "run 3") is rebuilt


def test_a_load_of_before_the_last_run_is_none_that_came_later(sound: Connection) -> None:
    do(sound, f"insert into raw.loads values ('promos', '{LONG_AGO}', 1, 'a test')")
    begin(sound, "run 2")
    publish(sound)
    assert begin(sound, "run 3") is False


def test_a_shop_whose_loads_are_a_view_is_followed_all_the_same(sound: Connection) -> None:
    do(sound, "alter table raw.loads rename to of_the_shop; create view raw.loads as select * from raw.of_the_shop")
    assert begin(sound, "run 2") is False


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("loads", "load_id bigint, started_at timestamptz"),
        ("loads", "table_name text"),
        ("loads", "loaded_at timestamptz"),
        ("loads", "table_name text, loaded_at text"),
        ("deletions", "order_id text, at timestamptz"),
        ("deletions", "deleted_at bigint"),
        ("orders", "order_id text"),
        ("orders", "order_id text, _loaded_at text"),
    ],
)
def test_a_table_of_the_shop_s_own_that_is_called_like_one_of_ours_ends_no_begin(
    sound: Connection, name: str, columns: str
) -> None:
    do(sound, f"drop table raw.{name}; create table raw.{name} ({columns}); insert into raw.{name} default values")
    begin(sound, "run 2")
    publish(sound)
    assert begin(sound, "run 3") is False
    assert buffers.loaded_since_begin(sound) is None


def test_nor_does_one_whose_stamps_are_text_from_now_on(sound: Connection) -> None:
    do(sound, "insert into raw.orders (order_id, _loaded_at) values ('o', now() - interval '1 day')")
    begin(sound, "run 2")
    publish(sound)
    do(sound, "alter table raw.orders alter _loaded_at type text")
    assert begin(sound, "run 3") is True


def test_what_was_stamped_a_moment_ago_is_looked_at_again(sound: Connection) -> None:
    load(sound, "new", "now()")
    before = datetime.now(UTC)
    begin(sound, "run 2")
    _, pending = watermarks(sound, "promos")
    assert before <= pending + buffers.OVERLAP <= datetime.now(UTC)


def test_a_raw_table_without_a_row_is_followed_from_its_first(sound: Connection) -> None:
    assert do(sound, f"select pending::text from ops.watermarks where schema_oid = {THIS} and source = 'orders'") == [
        ("-infinity",)
    ]


def test_the_newest_stamps_are_those_of_rows_that_came_and_of_keys_that_went(sound: Connection) -> None:
    do(sound, "insert into raw.deletions values ('orders', 'o', '2021-03-01'), ('orders', 'p', '2999-01-01')")
    load(sound, "older", "'2020-01-01'")
    stamps = buffers.newest_stamps(sound)
    assert (stamps["promos"], stamps["orders"]) == (LONG_AGO, None)
    assert stamps["deletions"].date().isoformat() == "2021-03-01"
    do(sound, "drop table raw.users, raw.deletions; create table public.users ()")
    assert (buffers.newest_stamps(sound)["users"], buffers.newest_stamps(sound)["deletions"]) == (None, None)


def test_only_what_came_since_a_run_began_is_a_load_whatever_its_stamp(sound: Connection) -> None:
    load(sound, "ahead", "'2999-01-01'")
    begin(sound, "run 2")
    assert of_this(sound, "ahead") == ([datetime(2999, 1, 1, tzinfo=UTC)],)
    assert do(sound, f"select ahead from ops.buffers where schema_oid = {OTHER}") == [([],)]
    assert buffers.loaded_since_begin(sound) is None
    load(sound, "far ahead", "'infinity'")
    assert buffers.loaded_since_begin(sound) <= datetime.now(UTC)
    do(sound, "delete from raw.promos where promo_id = 'far ahead'")
    do(sound, "insert into raw.deletions values ('orders', 'o', clock_timestamp())")
    [(deleted_at,)] = do(sound, "select deleted_at from raw.deletions")
    assert buffers.loaded_since_begin(sound) == deleted_at
    for promo in ("first", "second"):
        load(sound, promo, "clock_timestamp()")
    assert do(sound, "select _loaded_at from raw.promos where promo_id = 'second'") == [
        (buffers.loaded_since_begin(sound),)
    ]
    do(sound, "delete from raw.promos where promo_id in ('first', 'second')")
    # Of between two moments: neither of them is between.
    moment = timedelta(microseconds=1)
    assert buffers.loaded_since_begin(sound, after=deleted_at) is None
    assert buffers.loaded_since_begin(sound, after=deleted_at - moment) == deleted_at
    assert buffers.loaded_since_begin(sound, before=deleted_at) is None
    assert buffers.loaded_since_begin(sound, before=deleted_at + moment) == deleted_at
    do(sound, f"delete from ops.buffers where schema_oid = {THIS}")
    assert buffers.loaded_since_begin(sound) is None


def test_a_buffer_is_marked_and_a_publish_takes_the_mark_back(sound: Connection) -> None:
    do(sound, f"update ops.buffers set dirty = false where schema_oid = {OTHER}")
    buffers.mark(sound)
    assert do(sound, f"select dirty from ops.buffers where schema_oid = {OTHER}") == [(False,)]
    assert of_this(sound, "dirty") == (True,)
    do(sound, f"update ops.buffers set dirty = true where schema_oid = {OTHER}")
    (before,) = of_this(sound, "since")
    publish(sound)
    assert of_this(sound, f"dirty, since > '{before}'") == (False, True)
    assert do(sound, f"select dirty from ops.buffers where schema_oid = {OTHER}") == [(True,)]
    assert do(sound, "select unique_id from ops.buffer_models where written") == [("model.greenery.gone",)]


def test_who_builds_is_told_with_what_was_built_since(sound: Connection) -> None:
    begin(sound, "run 2")
    build(sound, "orders")
    told = buffers.current(sound)
    assert (told.run_id, told.since) == of_this(sound, "run_id, since")
    assert told.built.keys() == {"model.greenery.orders"}
    do(sound, f"delete from ops.buffers where schema_oid = {THIS}")
    told = buffers.current(sound)
    assert (told.schema_oid > 0, told.run_id, told.since, told.built) == (True, None, None, {})
    do(sound, f"drop schema {BUILT} cascade")
    assert buffers.current(sound) == buffers.Buffer(0, None, None, {}, {})


@pytest.mark.parametrize(
    ("change", "written_over"),
    [
        ("select", False),
        (f"update ops.buffer_models set written = true where schema_oid = {THIS} and unique_id like '%orders'", True),
        (f"update ops.buffer_models set written = true where schema_oid = {THIS} and unique_id like '%items'", True),
        (f"update ops.buffer_models set built_at = clock_timestamp() where schema_oid = {THIS}", True),
        (f"update ops.buffers set dirty = true where schema_oid = {THIS}", False),
        (
            f"update ops.buffers set dirty = true where schema_oid = {THIS};"
            f" update ops.buffer_models set built_at = '-infinity' where schema_oid = {THIS}",  # it leaves no word
            True,
        ),
        (f"update ops.buffer_models set built_at = '-infinity' where schema_oid = {THIS}", False),
        (f"drop table {BUILT}.order_items", True),
        (
            f"drop table {BUILT}.days;"
            f" update ops.buffer_models set written = true where schema_oid = {THIS} and unique_id like '%days'",
            False,
        ),
    ],
)
def test_there_is_no_way_back_to_a_buffer_that_was_written_over(
    sound: Connection, change: str, written_over: bool
) -> None:
    do(sound, f"create table {LIVE}.days ()")
    do(sound, change)
    [(buffer,)] = do(sound, f"select {THIS}")
    assert buffers.is_written_over(sound, buffer) is written_over
    assert buffers.is_written_over(sound, 1) is False


def test_a_buffer_knows_the_models_of_the_project_that_is_published(sound: Connection) -> None:
    with sound.cursor() as cursor:
        buffers.keep_models(
            cursor,
            BUILT,
            {"model.greenery.orders": "sales", "model.greenery.new": "new"},
            besides=["order_items", "days"],
        )
        assert buffers.relations(cursor, BUILT) == {"sales", "new", "order_items", "days"}
        buffers.keep_models(
            cursor, BUILT, {"model.greenery.orders": "sales", "model.greenery.new": "new"}, ["order_items"]
        )
        assert buffers.relations(cursor, BUILT) == {"sales", "new", "order_items"}
        assert buffers.relations(cursor, LIVE) == {"gone"}
    of_models = "unique_id, identifier, checksum, rebuilt, written, built_at = '-infinity'"
    assert do(sound, f"select {of_models} from ops.buffer_models where schema_oid = {THIS} order by 1") == [
        ("model.greenery.items", "order_items", None, False, False, False),
        ("model.greenery.new", "new", None, True, False, True),
        ("model.greenery.orders", "sales", "c", False, False, False),
    ]
    assert do(sound, f"select checksum from ops.buffer_models where schema_oid = {OTHER}") == [("c",)]


def test_where_somebody_publishes_our_tables_their_rows_can_still_be_deleted(sound: Connection) -> None:
    do(sound, f"create table {LIVE}.orders (); create table {BUILT}.keyed (key text primary key)")
    do(sound, f"create table {BUILT}.sole ()")
    do(sound, f"create table {BUILT}.chosen (key text not null); create unique index by_key on {BUILT}.chosen (key)")
    do(sound, f"alter table {BUILT}.chosen replica identity using index by_key")
    published = ", ".join(f"{BUILT}.{name}" for name in ("orders", "sole", "keyed", "chosen"))
    published = f"{published}, {LIVE}.orders, raw.orders"
    do(sound, f"create publication told for table {published} with (publish = 'delete')")
    begin(sound, "run 2")
    assert do(
        sound,
        "select relreplident, array_agg(oid::regclass::text order by oid::regclass::text) from pg_class"
        f" where relkind = 'r' and relnamespace = any(array[{THIS}, {OTHER}, to_regnamespace('raw')::oid])"
        " and relname in ('orders', 'keyed', 'chosen', 'days', 'sole') group by 1 order by 1",
    ) == [
        ("d", [f"{LIVE}.orders", f"{BUILT}.days", f"{BUILT}.keyed", "raw.orders"]),
        ("f", [f"{BUILT}.orders", f"{BUILT}.sole"]),
        ("i", [f"{BUILT}.chosen"]),
    ]


def test_a_buffer_is_known_from_its_first_run_on(db: Connection) -> None:
    with db.cursor() as cursor:
        assert buffers.is_known(cursor, BUILT) is False
        begin(db, "run 1")
        assert buffers.is_known(cursor, BUILT) is True
        assert buffers.is_known(cursor, LIVE) is False
