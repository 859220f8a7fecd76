"""What people have on the marts and beside them stays with the name `analytics`, or is named in the message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include.daily import buffers
from include.publish import locks
from include.publish.gate import NotPublishedError
from include.results import runs
from include.settings import Warehouse
from include.warehouse import roles
from tests.include.publish.test_exchange import build, do, notes, publish

pytestmark = pytest.mark.db


@pytest.fixture
def builder(db: Connection, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A warehouse with roles, in which run 1 has published `m` and `n`; as who builds and publishes."""
    roles.ensure(db, login=True)
    monkeypatch.setenv("WAREHOUSE_USER", roles.TRANSFORMER)
    builder = psycopg2.connect(
        host=warehouse.host, port=warehouse.port, dbname=warehouse.database, user=roles.TRANSFORMER
    )
    builder.autocommit = True
    day(builder, 1)
    yield builder
    builder.close()


def day(builder: Connection, number: int, *more: str) -> str:
    """Build and publish the marts anew, `more` besides; returns the notes."""
    build(builder, f"run {number}", "m", "n", *more)
    publish(builder, f"run {number}", "m", "n", *more)
    return notes(builder)


@pytest.fixture
def bi_tool(db: Connection, builder: Connection) -> Iterator[str]:
    """A role of somebody's that may read the marts, those to come as well, and of `n` one column."""
    do(db, "create role bi_tool")
    do(builder, "grant usage on schema analytics to bi_tool")
    do(builder, "grant select on analytics.m to bi_tool with grant option")
    do(builder, "grant select (built_by) on analytics.n to bi_tool")
    do(builder, "alter default privileges in schema analytics grant select on tables to bi_tool")
    yield "bi_tool"
    do(db, "drop owned by bi_tool; drop role bi_tool")


def may(db: Connection, what: str, *of: str) -> bool:
    [(answer,)] = do(db, f"select has_{what}_privilege('bi_tool', {', '.join(map(repr, of))})")
    return answer


def test_grants_of_people_stay_with_what_is_published(builder: Connection, bi_tool: str) -> None:
    for number in (2, 3, 4):
        assert day(builder, number, f"made_on_day_{number}") == "" or number > 2
        assert may(builder, "schema", "analytics", "usage")
        assert may(builder, "table", "analytics.m", "select with grant option")
        assert may(builder, "column", "analytics.n", "built_by", "select")
        assert not may(builder, "table", "analytics.n", "select")
        assert may(builder, "table", f"analytics.made_on_day_{number}", "select")


def test_people_get_no_right_on_what_is_built(builder: Connection, bi_tool: str) -> None:
    for number in (2, 3):
        day(builder, number)
        build(builder, f"run {number + 1}", "built_aside")
        assert not may(builder, "schema", "analytics_next", "usage")
        for table in ("m", "n", "built_aside"):
            assert not may(builder, "any_column", f"analytics_next.{table}", "select")


def test_what_was_taken_from_people_is_not_given_back(builder: Connection, bi_tool: str) -> None:
    for number in (2, 3):
        day(builder, number)
    do(builder, "alter default privileges in schema analytics revoke select on tables from bi_tool")
    do(builder, "revoke all on analytics.m from bi_tool")
    do(builder, "revoke usage on schema analytics from bi_tool")
    for number in (4, 5):
        day(builder, number)
        assert not may(builder, "table", "analytics.m", "select"), number
        assert not may(builder, "schema", "analytics", "usage"), number


def test_what_somebody_grants_to_one_of_our_roles_beyond_what_it_has_stays_as_well(
    builder: Connection, bi_tool: str
) -> None:
    do(builder, "grant create on schema analytics to greenery_developer")
    do(builder, "grant references on analytics.m to greenery_developer")
    for number in (2, 3):
        assert day(builder, number) == ""
        for schema, table, is_meant in (("analytics", "m", True), ("analytics_next", "m", False)):
            assert do(
                builder,
                f"select has_schema_privilege('greenery_developer', '{schema}', 'create'),"
                f" has_table_privilege('greenery_developer', '{schema}.{table}', 'references')",
            ) == [(is_meant, is_meant)]


@pytest.mark.parametrize(
    ("granted", "had"),
    [
        ("usage on schema analytics", ("schema", "analytics", "usage")),
        ("select on analytics.m", ("table", "analytics.m", "select")),
    ],
    ids=["schema", "table"],
)
def test_what_one_of_our_roles_has_passed_on_stays_with_what_is_published(
    builder: Connection, db: Connection, granted: str, had: tuple[str, ...]
) -> None:
    do(db, "create role bi_tool")
    do(builder, f"grant {granted} to greenery_reader with grant option")
    do(db, f"set role greenery_reader; grant {granted} to bi_tool; reset role")
    try:
        for number in (2, 3):
            assert day(builder, number) == ""
            assert may(db, *had)
    finally:
        do(builder, f"revoke {granted} from greenery_reader cascade")
        do(db, "drop owned by bi_tool; drop role bi_tool")


@pytest.mark.parametrize(
    ("objects", "privilege"), [("sequences", "usage"), ("functions", "execute"), ("types", "usage")]
)
def test_default_privileges_stay_with_the_name(builder: Connection, bi_tool: str, objects: str, privilege: str) -> None:
    do(builder, f"alter default privileges in schema analytics grant {privilege} on {objects} to bi_tool")
    of_them = (
        "select defaclnamespace::regnamespace::text from pg_default_acl where defaclobjtype <> 'r'"
        " and defaclnamespace <> 0"
    )
    for number in (2, 3):
        assert day(builder, number) == ""
        assert do(builder, of_them) == [("analytics",)]


def test_default_privileges_of_another_role_are_named_where_they_do_not_hold_any_more(
    builder: Connection, db: Connection, bi_tool: str
) -> None:
    given = "alter default privileges for role postgres in schema analytics grant select on tables to bi_tool"
    do(db, given)
    assert day(builder, 2) == (
        "a right of bi_tool could not go with the publish, so it has to be given again: "
        + given.replace("select", "SELECT")
    )
    do(db, given)
    for number in (3, 4):
        assert day(builder, number) == ""


def policies(builder: Connection, schema: str) -> list[tuple]:
    return do(
        builder,
        "select polname, polpermissive, polcmd, polroles::regrole[]::text, pg_get_expr(polqual, polrelid), relname,"
        " relrowsecurity from pg_class left join pg_policy on polrelid = pg_class.oid"
        f" where relnamespace = '{schema}'::regnamespace and relrowsecurity order by polname",
    )


def test_row_security_stays_with_what_is_published(builder: Connection, bi_tool: str) -> None:
    do(builder, "alter table analytics.m enable row level security")
    do(builder, "create policy only_last on analytics.m for select to bi_tool, greenery_reader using (built_by > 'r')")
    do(builder, "create policy never on analytics.m as restrictive using (built_by <> 'it''s')")
    before = policies(builder, "analytics")
    assert len(before) == 2
    for number in (2, 3):
        assert day(builder, number) == ""
        assert policies(builder, "analytics") == before
        assert policies(builder, "analytics_next") == []


def test_a_mart_with_row_security_is_not_published_as_a_view_which_would_show_every_row(
    builder: Connection, bi_tool: str
) -> None:
    do(builder, "alter table analytics.m enable row level security")
    do(builder, "create policy nobody on analytics.m to bi_tool using (false)")
    build(builder, "run 2", "n")
    do(builder, "create view analytics_next.m as select 'run 2'::text as built_by")
    with pytest.raises(NotPublishedError, match="Table m has row security, and what is to take its place is a view"):
        publish(builder, "run 2", "n", views=("analytics_next.m",))
    assert do(builder, "select relkind::text from pg_class where oid = 'analytics.m'::regclass") == [("r",)]
    do(builder, "alter table analytics.m disable row level security")
    publish(builder, "run 2", "n", views=("analytics_next.m",))
    assert may(builder, "table", "analytics.m", "select")


def test_where_a_policy_does_not_fit_any_more_nothing_is_shown_and_that_is_said(
    builder: Connection, db: Connection, bi_tool: str
) -> None:
    do(builder, "alter table analytics.m add column region text; alter table analytics.m enable row level security")
    do(builder, "create policy mine on analytics.m to bi_tool using (region = 'x')")
    assert "policy mine of table m does not fit" in day(builder, 2)
    assert do(db, "set role bi_tool; select * from analytics.m") == []
    do(db, "reset role")


def test_comments_and_storage_options_stay(builder: Connection) -> None:
    do(builder, "comment on table analytics.m is 'it''s ours'; comment on column analytics.m.built_by is 'who'")
    do(builder, "alter table analytics.m set (fillfactor = 70)")
    for number in (2, 3):
        assert day(builder, number) == ""
        assert do(
            builder,
            "select obj_description(oid), col_description(oid, 1), reloptions from pg_class"
            " where oid = 'analytics.m'::regclass",
        ) == [("it's ours", "who", ["fillfactor=70"])]


OF_A_COLUMN = (
    "select attstattarget, attoptions from pg_attribute where attrelid = 'analytics.m'::regclass and attnum = 1"
)


@pytest.mark.parametrize(
    ("done", "undone", "asked", "seen"),
    [
        (
            "alter table analytics.m alter built_by set statistics 700, alter built_by set (n_distinct = 7)",
            "alter table analytics.m alter built_by set statistics -1, alter built_by reset (n_distinct)",
            OF_A_COLUMN,
            (700, ["n_distinct=7"]),
        ),
        (
            "alter table analytics.m set (fillfactor = 70, toast.autovacuum_enabled = false)",
            "alter table analytics.m reset (fillfactor, toast.autovacuum_enabled)",
            "select olds.reloptions, toasts.reloptions from pg_class as olds join pg_class as toasts on"
            " toasts.oid = olds.reltoastrelid where olds.oid = 'analytics.m'::regclass",
            (["fillfactor=70"], ["autovacuum_enabled=false"]),
        ),
        (
            "comment on view analytics.v is 'ours'; comment on column analytics.v.built_by is 'who'",
            "comment on view analytics.v is null; comment on column analytics.v.built_by is null",
            "select obj_description(oid), col_description(oid, 1) from pg_class where oid = 'analytics.v'::regclass",
            ("ours", "who"),
        ),
        (
            "alter view analytics.v set (security_invoker = true)",
            "alter view analytics.v reset (security_invoker)",
            "select reloptions from pg_class where oid = 'analytics.v'::regclass",
            (["security_invoker=true"],),
        ),
        (
            "comment on policy p on analytics.m is 'why'",
            "comment on policy p on analytics.m is null",
            "select obj_description(oid, 'pg_policy') from pg_policy where polrelid = 'analytics.m'::regclass",
            ("why",),
        ),
    ],
    ids=["column", "table", "comments of a view", "a view", "comment of a policy"],
)
def test_what_is_set_on_a_mart_stays_until_somebody_takes_it_back(
    builder: Connection, done: str, undone: str, asked: str, seen: tuple
) -> None:
    """The tables live on, as those of incremental models: what was set on one is there when it comes back."""

    def publish_anew(number: int) -> None:
        runs.begin(builder, f"run {number}", "release")
        buffers.begin(builder, f"run {number}")
        do(builder, "drop view if exists analytics_next.v")
        do(builder, "create view analytics_next.v as select built_by from analytics_next.m")
        publish(builder, f"run {number}", "m", "n", views=("analytics_next.v",))

    day(builder, 2)
    publish_anew(3)
    do(builder, "create policy p on analytics.m using (true)")
    before = do(builder, asked)
    do(builder, done)
    for number in (4, 5):
        publish_anew(number)
        assert notes(builder) == ""
        assert do(builder, asked) == [seen]
    do(builder, undone)
    for number in (6, 7):
        publish_anew(number)
        assert do(builder, asked) == before


def test_a_security_label_that_does_not_go_with_the_publish_is_named(builder: Connection, db: Connection) -> None:
    """As an extension that masks columns has them."""
    do(db, "set allow_system_table_mods = on")
    do(db, "insert into pg_seclabel values ('analytics.m'::regclass, 'pg_class'::regclass, 1, 'masks', 'hidden')")
    assert day(builder, 2) == (
        "this could not go with the publish, on table m:"
        " security label for masks on column analytics.m.built_by is 'hidden'"
    )


def test_an_index_on_a_materialized_view_is_named(builder: Connection) -> None:
    for schema in ("analytics", "analytics_next"):
        do(
            builder,
            f"drop table if exists {schema}.n; create materialized view {schema}.n as select 'run 2'::text as built_by",
        )
    do(builder, "create index by_hand on analytics.n (built_by)")
    build(builder, "run 2", "m")
    publish(builder, "run 2", "m", "n")
    assert "index by_hand on table n is not on what is published now" in notes(builder)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("create index by_hand on analytics.m (built_by)", "index by_hand on table m"),
        (
            "create statistics analytics.by_hand (mcv) on (built_by || ''), built_by from analytics.m",
            "statistics by_hand",
        ),
        (
            "create trigger by_hand before update on analytics.m for each row"
            " execute function suppress_redundant_updates_trigger()",
            "trigger by_hand on table m",
        ),
        ("create rule by_hand as on delete to analytics.m do instead nothing", "rule by_hand on table m"),
        ("alter table analytics.m add constraint by_hand check (built_by <> '')", "constraint by_hand on table m"),
        ("create publication by_hand for table analytics.m", "publication by_hand on table m"),
    ],
    ids=lambda text: text.split()[1],
)
def test_what_can_not_go_with_the_publish_is_named(builder: Connection, db: Connection, made: str, told: str) -> None:
    do(db, f"grant create on database {db.info.dbname} to greenery_transformer")
    do(builder, made)
    said = day(builder, 2)
    assert told in said
    assert "is not on what is published now" in said


def test_a_table_and_a_view_that_people_have_in_analytics_stay_there(builder: Connection) -> None:
    do(builder, "create table analytics.mine as select 1 as one")
    do(builder, "create view analytics.on_m as select built_by from analytics.m")
    do(builder, "create function analytics.two() returns int language sql as 'select 2'")
    for number in (2, 3, 4):
        assert day(builder, number) == ""
        assert do(builder, "select one, analytics.two() from analytics.mine") == [(1, 2)]
        assert do(builder, "select * from analytics.on_m") == [(f"run {number}",)]


@pytest.mark.parametrize(
    ("made", "used"),
    [
        ('create collation analytics.ours from pg_catalog."C"', "select 'a' < 'b' collate analytics.ours"),
        (
            "create operator analytics.=== (leftarg = text, rightarg = text, function = texteq)",
            "select 'a' operator(analytics.===) 'a'::text",
        ),
        (
            "create text search dictionary analytics.ours (template = pg_catalog.simple)",
            "select ts_lexize('analytics.ours', 'a') = array['a']",
        ),
        (
            "create text search configuration analytics.ours (copy = pg_catalog.simple)",
            "select to_tsvector('analytics.ours', 'a') = 'a:1'",
        ),
        (
            "create type analytics.mood as enum ('glad');"
            " create function analytics.shown(analytics.mood) returns bool language sql as 'select true'",
            "select analytics.shown('glad')",
        ),
        (
            "create type analytics.mood as enum ('glad');"
            " create function analytics.alike(analytics.mood, analytics.mood) returns bool language sql"
            " as 'select true';"
            " create operator analytics.~~~"
            " (leftarg = analytics.mood, rightarg = analytics.mood, function = analytics.alike)",
            "select 'glad'::analytics.mood operator(analytics.~~~) 'glad'::analytics.mood",
        ),
        (
            "create table analytics.mine as select true as one;"
            " create function analytics.shown(analytics.mine) returns bool language sql as 'select $1.one'",
            "select analytics.shown(mine) from analytics.mine",
        ),
    ],
    ids=[
        "collation",
        "operator",
        "dictionary",
        "configuration",
        "function of a type",
        "operator of a type",
        "function of rows",
    ],
)
def test_whatever_people_make_in_analytics_stays_there(builder: Connection, made: str, used: str) -> None:
    do(builder, made)
    for number in (2, 3):
        assert day(builder, number) == ""
        assert do(builder, used) == [(True,)]


def test_an_extension_in_analytics_is_named_once(builder: Connection) -> None:
    """Postgres lets nobody take it to another schema who does not own all that it has made."""
    do(builder, "create extension citext schema analytics")
    assert day(builder, 2) == (
        "extension citext of greenery_transformer is in analytics_next now, with the schema that it was made in:"
        " its owner takes it to another schema"
    )


def test_a_view_of_somebody_elses_on_what_stays_reads_on(builder: Connection, db: Connection) -> None:
    do(builder, "create table analytics.mine as select 1 as one")
    do(db, "create view public.seen as select mart, one from analytics.trust, analytics.mine")
    for number in (2, 3, 4):
        assert day(builder, number) == ""
        assert do(db, "select * from public.seen order by mart") == [("m", 1), ("n", 1)]


@pytest.mark.parametrize(
    "made",
    [
        "create temporary view on_m as select * from analytics.m",
        "create function pg_temp.who() returns setof text begin atomic select built_by from analytics.m; end",
    ],
    ids=["a view", "a function"],
)
def test_what_is_temporary_on_a_mart_keeps_no_publish_out(builder: Connection, warehouse: Warehouse, made: str) -> None:
    dsn = warehouse.libpq() | {"user": roles.TRANSFORMER}
    with closing(psycopg2.connect(**dsn)) as somebody:
        somebody.autocommit = True
        do(somebody, made)
        assert day(builder, 2) == ""
        assert do(builder, "select built_by from analytics.m") == [("run 2",)]


def test_who_owns_a_table_in_analytics_decides_who_reads_it(
    builder: Connection, db: Connection, analyst: Connection
) -> None:
    do(db, "grant create on schema analytics to analyst")
    do(analyst, "create table analytics.salaries as select 1 as one")
    for number in (2, 3):
        assert day(builder, number) == ""
        roles.ensure(db)
        assert do(db, "select relacl from pg_class where oid = 'analytics.salaries'::regclass") == [(None,)]


def test_a_table_of_somebody_elses_in_analytics_is_named_and_never_dropped(builder: Connection, db: Connection) -> None:
    do(db, "create table analytics.theirs as select 1 as one")
    assert "table theirs of postgres is in analytics_next now" in day(builder, 2)
    for number in (3, 4):
        day(builder, number)
    assert do(db, "select count(*) from pg_class where relname = 'theirs'") == [(1,)]


@pytest.mark.parametrize("whose", ["builder", "db"])
def test_a_table_of_somebodys_that_a_model_is_called_like_later_is_not_taken_for_the_models(
    builder: Connection, db: Connection, whose: str
) -> None:
    do({"builder": builder, "db": db}[whose], "create table analytics.mine as select 1 as one")
    with pytest.raises(NotPublishedError, match=r"Table mine of \w+ in analytics has the name of a model"):
        day(builder, 2, "mine")
    assert do(db, "select one from analytics.mine") == [(1,)]
    do(db, "alter table analytics.mine rename to theirs")
    publish(builder, "run 2", "m", "n", "mine")
    assert do(builder, "select built_by from analytics.mine") == [("run 2",)]


def test_nor_is_one_that_was_there_before_the_first_publish(db: Connection) -> None:
    do(db, "create table analytics.m as select 1 as one")
    build(db, "run 1", "m")
    with pytest.raises(NotPublishedError, match="Table m of postgres in analytics has the name of a model"):
        publish(db, "run 1", "m")
    do(db, "drop table analytics.m")
    publish(db, "run 1", "m")


def test_what_somebody_made_where_is_built_is_not_published(builder: Connection) -> None:
    do(builder, "create table analytics_next.scratch as select 1 as one")
    for number in (2, 3):
        assert day(builder, number) == ""
        assert do(builder, "select to_regclass('analytics.scratch'), one from analytics_next.scratch") == [(None, 1)]


def test_a_function_with_a_body_of_sql_reads_the_new_marts(builder: Connection, db: Connection) -> None:
    do(builder, "create schema reporting")
    do(
        builder,
        "create function reporting.who() returns setof text begin atomic select built_by from analytics.m; end",
    )
    for number in (2, 3):
        assert day(builder, number) == ""
        build(builder, "run 9", "m")
        assert do(builder, "select reporting.who()") == [(f"run {number}",)]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (
            "create function reporting.rows() returns setof analytics.m language sql as 'select * from analytics.m'",
            "function reporting.rows() of greenery_transformer",
        ),
        (
            "create function reporting.first(analytics.m[]) returns text language sql as 'select $1[1].built_by'",
            "function reporting.first(analytics.m[]) of greenery_transformer",
        ),
        (
            "create function reporting.keep(analytics.m, analytics.m) returns analytics.m language sql as 'select $1';"
            " create aggregate reporting.any_of(analytics.m) (sfunc = reporting.keep, stype = analytics.m)",
            "function reporting.any_of(analytics.m) of greenery_transformer",
        ),
        (
            "create table reporting.mine (one text); alter table reporting.mine enable row level security;"
            " create policy by_hand on reporting.mine using (exists (select from analytics.m where built_by = one))",
            "policy by_hand on table reporting.mine",
        ),
        (
            "create table reporting.mine (one text);"
            " create rule by_hand as on insert to reporting.mine do also select * from analytics.m",
            "rule by_hand on table reporting.mine",
        ),
        (
            "alter table analytics.m add unique (built_by);"
            " create table reporting.mine (one text constraint by_hand references analytics.m (built_by))",
            "constraint by_hand on table reporting.mine",
        ),
        ("create table reporting.mine (one text) inherits (analytics.m)", "table reporting.mine"),
        ("create table reporting.mine (one analytics.m)", "column one of table reporting.mine"),
        ("create table analytics.mine (one analytics.m[])", "column one of table analytics.mine"),
    ],
    ids=["rows", "argument", "aggregate", "policy", "rule", "foreign key", "inherits", "column", "array"],
)
def test_what_stands_on_a_mart_and_is_dropped_with_it_is_named(builder: Connection, made: str, told: str) -> None:
    do(builder, "create schema reporting")
    do(builder, made)
    build(builder, "run 2", "m", "n")
    publish(builder, "run 2", "m", "n")
    assert f"{told} does not read what is published now, and is dropped with the former marts" in notes(builder)
    assert do(builder, "select * from analytics.m") == [("run 2",)]


def test_what_marts_have_with_each_other_is_no_news(builder: Connection) -> None:
    build(builder, "run 2", "m", "n")
    for schema in ("analytics", "analytics_next"):
        do(
            builder,
            f"alter table {schema}.m add unique (built_by);"
            f" alter table {schema}.n add foreign key (built_by) references {schema}.m (built_by)",
        )
    do(builder, "alter table analytics.n enable row level security")
    do(builder, "create policy known on analytics.n using (exists (select from analytics.m))")
    publish(builder, "run 2", "m", "n")
    assert notes(builder) == ""


@pytest.fixture
def analyst(db: Connection, builder: Connection) -> Iterator[Connection]:
    """Somebody whose views and functions the builder may mend, with their own schema; as them."""
    do(db, "create role analyst login in role greenery_reader")
    do(db, "grant analyst to greenery_transformer")
    do(db, "create schema reporting authorization analyst")
    info = db.info
    analyst = psycopg2.connect(host=info.host, port=info.port, dbname=info.dbname, user="analyst")
    analyst.autocommit = True
    yield analyst
    analyst.close()
    do(db, "drop owned by analyst cascade; drop role analyst")


def functions(db: Connection) -> list[tuple]:
    return do(
        db,
        "select proname, pg_get_userbyid(proowner) from pg_proc"
        " where pronamespace in ('reporting'::regnamespace, 'analytics'::regnamespace) order by 1, 2",
    )


def test_a_function_of_a_marts_rows_is_named_and_never_made_a_second_time_as_the_builders(
    builder: Connection, analyst: Connection
) -> None:
    """By its name and argument it is another function once the schemas are exchanged: of the new mart's row."""
    do(
        analyst,
        "create function reporting.who(analytics.m) returns text security definer"
        " begin atomic select max(built_by) from analytics.m; end",
    )
    assert functions(builder) == [("who", "analyst")]
    assert "function reporting.who(analytics.m) of analyst does not read what is published now" in day(builder, 2)
    assert functions(builder) == [("who", "analyst")]


made_and_renamed = pytest.mark.parametrize(
    ("made", "instead"),
    [
        (
            "create function reporting.who() returns setof text security definer"
            " begin atomic select built_by from analytics.m; end",
            "alter function reporting.who() rename to former",
        ),
        ("create view reporting.who as select built_by from analytics.m", "alter view reporting.who rename to former"),
    ],
    ids=["a function", "a view"],
)


@made_and_renamed
def test_what_its_owner_renames_while_it_is_published_is_not_made_a_second_time_as_the_builders(
    builder: Connection, analyst: Connection, monkeypatch: pytest.MonkeyPatch, made: str, instead: str
) -> None:
    """Renamed at the worst moment: between the look at it and the exchange's lock."""
    do(analyst, made)
    lock = locks.keep_out_readers

    def keep_out_readers(*arguments: object, **named: object) -> None:
        do(analyst, instead)
        lock(*arguments, **named)

    monkeypatch.setattr(locks, "keep_out_readers", keep_out_readers)
    day(builder, 2)
    assert functions(builder) == ([("former", "analyst")] if "function" in made else [])
    assert do(builder, "select to_regclass('reporting.who')") == [(None,)]


@made_and_renamed
def test_once_it_is_locked_its_owner_can_rename_it_no_more_until_it_is_published(
    builder: Connection, analyst: Connection, monkeypatch: pytest.MonkeyPatch, made: str, instead: str
) -> None:
    do(analyst, made)
    do(analyst, "set lock_timeout = '50ms'")
    lock = locks.keep_out_readers

    def keep_out_readers(*arguments: object, **named: object) -> None:
        lock(*arguments, **named)
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            do(analyst, instead)

    monkeypatch.setattr(locks, "keep_out_readers", keep_out_readers)
    day(builder, 2)
    reads = "select reporting.who()" if "function" in made else "select * from reporting.who"
    assert do(builder, reads) == [("run 2",)]
    do(analyst, instead)


def test_what_is_made_again_is_made_as_its_owner(builder: Connection, db: Connection, analyst: Connection) -> None:
    """Whatever comes of it, be it under a name that now is another's: it must not be the builder's."""
    do(analyst, "create view reporting.mine as select built_by from analytics.m")
    do(analyst, "create function reporting.who() returns text begin atomic select max(built_by) from analytics.m; end")
    do(db, "create table public.made (tag text, by text); grant insert on public.made to public")
    do(
        db,
        "create function public.note_it() returns event_trigger language plpgsql as"
        " $$ begin insert into public.made select distinct command_tag, current_user"
        " from pg_event_trigger_ddl_commands() where object_identity <> 'analytics.trust'; end $$",
    )
    do(
        db,
        "create event trigger made on ddl_command_end when tag in ('CREATE VIEW', 'CREATE FUNCTION')"
        " execute function public.note_it()",
    )
    try:
        assert day(builder, 2) == ""
    finally:
        do(db, "drop event trigger made")
    assert do(db, "select * from public.made order by 1") == [
        ("CREATE FUNCTION", "analyst"),
        ("CREATE VIEW", "analyst"),
    ]


def test_rows_can_be_deleted_though_somebody_publishes_all_tables(builder: Connection, db: Connection) -> None:
    day(builder, 2)
    do(builder, "create table snapshots.orders_snapshot as select 1 as one")
    do(db, "create publication everything for all tables")
    buffers.begin(builder, "run 2")
    assert do(builder, "delete from analytics_next.m returning built_by") == [("run 1",)]
    assert do(builder, "update snapshots.orders_snapshot set one = 2 returning one") == [(2,)]
