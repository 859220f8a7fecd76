"""What `analytics.trust` says beside the marts: published with them, and true of what happened since."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include import raw
from include.answers import answers
from include.answers.answer import About, Kind
from include.daily import buffers
from include.dbt_project.manifest import Manifest
from include.publish import by_hand
from include.publish.exchange import exchange
from include.publish.gate import NotPublishedError
from include.publish.publish import publish_run
from include.results import node_results, publications, runs, trust
from include.results.nodes import NodeResult
from include.settings import Warehouse
from include.slack.channels import to_all
from include.slack.message import Message
from include.slack.send import keep
from include.warehouse import migrate, roles
from tests.include.publish.test_publish import BUILT, MANIFEST, PASSED, build, model

pytestmark = pytest.mark.db

WARNED = NodeResult("test.w", "test", "looks_odd", "warn", "warn", 1, "", 0.1, None)
ORDERS, ITEMS, LISTED = "source.shop.orders", "source.shop.order_items", "source.lists.countries"
KEPT = "source.last_run.prices"
# `m` reads two raw tables, by a model that is no mart, and what a snapshot made, declared as a source. It has a test of
# each severity. `n` reads a table of elsewhere.
FACTS = Manifest(
    {
        **MANIFEST.nodes,
        "model.s": {**model("s", ORDERS), "schema": "staging", "config": {"materialized": "ephemeral"}},
        "model.m": model("m", "model.s", ITEMS, KEPT),
        "snapshot.p": {"resource_type": "snapshot", "name": "prices", "alias": "prices", "schema": "snapshots"},
        "model.n": model("n", ORDERS, LISTED),
        "test.w": {**MANIFEST.nodes["test.t"], "config": {"severity": "warn"}, "name": "looks_odd"},
    },
    {
        ORDERS: {"schema": "raw", "name": "orders"},
        ITEMS: {"schema": "raw", "name": "items", "identifier": "order_items"},
        LISTED: {"schema": "lists", "name": "countries"},
        KEPT: {"schema": "snapshots", "name": "prices", "identifier": "prices"},
    },
)


def rows(connection: Connection, statement: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def shop(db: Connection) -> Connection:
    """A warehouse with roles, whose raw tables were loaded, each at its time, and in which run 1 has built."""
    with db.cursor() as cursor:
        raw.create(cursor)
    rows(
        db,
        """
        insert into raw.loads (table_name, loaded_at, rows) values
            ('orders', '2026-11-22 05:50 UTC', 1), ('orders', '2026-11-23 00:10 UTC', 1),
            ('order_items', '2026-11-24 10:00 UTC', 1)
        """,
    )
    roles.ensure(db, login=True)
    build(db, "run 1", "one", BUILT, PASSED, WARNED)
    return db


@pytest.fixture
def reader(shop: Connection, warehouse: Warehouse) -> Iterator[Connection]:
    """Who may read what is published, and nothing else; in a transaction."""
    connection = psycopg2.connect(**replace(warehouse, user=roles.READER, password=None).libpq())
    yield connection
    connection.close()


def row(connection: Connection, columns: str, mart: str = "m") -> tuple:
    [found] = rows(connection, f"select {columns} from analytics.trust where mart = '{mart}'")
    return found


def fail(db: Connection, run_id: str, *results: NodeResult) -> None:
    """A run that does not publish, and says so."""
    runs.begin(db, run_id, "release")
    node_results.record(db, run_id, "task", 1, list(results))
    keep(db, run_id, to_all(Message("failed", "🔴", "", [])))


def test_each_mart_says_how_it_was_tested_and_up_to_when_it_is_complete(shop: Connection, reader: Connection) -> None:
    before = datetime.now(UTC)
    publish_run("run 1", FACTS)
    assert row(reader, "tests_passed, tests_warned, tests_let_through, complete_to") == (1, 1, 0, date(2026, 11, 22))
    assert row(reader, "tests_passed, tested_at, complete_to", "n") == (0, None, None), (
        "the load of a list is not known"
    )
    assert row(reader, "tested_at < as_of and as_of = published_at, held_since, decided") == (True, None, None)
    assert before < row(reader, "as_of")[0] < datetime.now(UTC)
    described = "select count(col_description(attrelid, attnum)) from pg_attribute where attrelid = %s::regclass"
    assert rows(shop, described % "'analytics.trust'") == [(len(trust.of_marts(shop)["m"].__dataclass_fields__),)]
    assert [(one.mart, one.tests_warned) for one in trust.of_marts(shop).values()] == [("m", 1), ("n", 0)]


def test_who_reads_a_mart_and_its_trust_sees_both_of_one_publication(shop: Connection, reader: Connection) -> None:
    publish_run("run 1", FACTS)
    build(shop, "run 2", "two", BUILT, PASSED)
    seen = row(reader, "published_at")
    with pytest.raises(Exception, match=r"analytics\.trust was held by greenery_reader"):
        exchange("run 2", buffers.current(shop), manifest=FACTS, attempts=1)
    assert rows(reader, "select content from analytics.m") == [("one",)]
    reader.commit()
    publish_run("run 2", FACTS)
    assert rows(reader, "select content from analytics.m") == [("two",)]
    assert row(reader, "published_at") > seen


def test_what_holds_newer_data_back_is_said_at_once(shop: Connection, reader: Connection) -> None:
    publish_run("run 1", FACTS)
    reader.autocommit = True
    by_hand.hold("ada", "prices are wrong")
    assert row(reader, "held_by, held_why, held_since is not null") == ("ada", "prices are wrong", True)
    by_hand.release("ada", "mended")
    assert row(reader, "held_by, held_why, held_since") == (None, None, None)

    failed = [replace(PASSED, unique_id=f"test.{name}", name=name, status="fail") for name in ("a", "b", "c", "d")]
    fail(shop, "run 2", replace(BUILT, status="error"))
    since = row(reader, "held_since")
    fail(shop, "run 3", *failed, WARNED)
    assert row(reader, "held_since") == since
    assert row(reader, "held_by, held_why", "n") == (None, "failed: test a, test b, test c and 1 more")
    fail(shop, "run 4")
    assert row(reader, "held_why") == ("the last run did not reach its end",)

    build(shop, "run 5", "five", BUILT, PASSED)
    publish_run("run 5", FACTS)
    assert row(reader, "held_since, held_why") == (None, None)


def test_what_was_decided_by_hand_is_said_with_who_did(shop: Connection, reader: Connection) -> None:
    reader.autocommit = True
    publish_run("run 1", FACTS)
    first = row(reader, "as_of, tested_at, tests_passed, tests_warned, complete_to")
    build(shop, "run 2", "two", BUILT, replace(PASSED, status="fail"))
    with_a_reason = publications.decide(shop, publications.PUBLISH, "run 2", "ada", "it is known")
    publish_run("run 2", FACTS, with_a_reason)
    said = "tests_passed, tests_let_through, decided, decided_by, decided_why"
    assert row(reader, said) == (0, 1 + 1, "publish", "ada", "it is known"), "the warning left no result either"
    by_hand.roll_back("bob", "too early")
    assert row(reader, "as_of, tested_at, tests_passed, tests_warned, complete_to") == first
    assert row(reader, "published_at > as_of, decided, decided_by") == (True, "roll back", "bob")


def test_a_test_that_somebody_let_through_is_counted(shop: Connection) -> None:
    build(shop, "run 2", "two", BUILT, replace(PASSED, status="fail"), WARNED)
    answers.give(shop, Kind.MUTE, About("test.t"), "ada", "known", datetime.now(UTC).date(), waives=True)
    publish_run("run 2", FACTS)
    assert row(shop, "tests_passed, tests_warned, tests_let_through") == (0, 1, 1)


def test_what_a_test_said_before_the_run_began_again_is_not_of_these_marts(shop: Connection) -> None:
    build(shop, "run 1", "again", BUILT, PASSED)  # the warning's test left no result this time
    publish_run("run 1", FACTS)
    assert row(shop, "tests_passed, tests_warned, tests_let_through") == (1, 0, 1)


@pytest.mark.parametrize(
    "made", ["create table analytics.trust as select 7 as mine", "create view analytics.trust as select 7 as mine"]
)
def test_what_somebody_has_by_that_name_stays_and_that_is_said(shop: Connection, made: str) -> None:
    rows(shop, made)
    publish_run("run 1", FACTS)
    assert rows(shop, "select * from analytics.trust") == [(7,)]
    [told] = publications.live(shop).notes
    assert told.startswith("analytics.trust is somebody's own, so how far the marts can be trusted is not shown there")
    assert trust.of_marts(shop)["m"].tests_passed == 1, "the data-health page knows it all the same"


def test_a_model_of_that_name_takes_the_place_of_the_view(shop: Connection) -> None:
    publish_run("run 1", FACTS)
    named = Manifest({**FACTS.nodes, "model.t": model("trust")}, FACTS.sources)
    of_trust = replace(BUILT, unique_id="model.t", name="trust")
    rows(shop, "create view public.mine as select mart from analytics.trust")
    rows(shop, "create table analytics_next.trust as select 7 as mine")
    build(shop, "run 1b", "two", BUILT, of_trust, PASSED)
    with pytest.raises(NotPublishedError, match="Table trust of"):
        publish_run("run 1b", named)
    rows(shop, "drop view public.mine")
    for number in (2, 3):
        rows(shop, "drop table if exists analytics_next.trust; create table analytics_next.trust as select 7 as mine")
        build(shop, f"run {number}", "two", BUILT, of_trust, PASSED)
        publish_run(f"run {number}", named)
        assert rows(shop, "select * from analytics.trust") == [(7,)]


def test_what_was_taken_from_who_reads_it_is_not_given_back(shop: Connection) -> None:
    publish_run("run 1", FACTS)
    may_read = f"select has_table_privilege('{roles.LOADER}', 'analytics.trust', 'select')"
    assert rows(shop, may_read) == [(True,)]
    rows(shop, "revoke select on analytics.trust from public")
    build(shop, "run 2", "two", BUILT, PASSED)
    publish_run("run 2", FACTS)
    assert row(shop, "tests_passed") == (1,)
    assert rows(shop, may_read) == [(False,)]


def test_what_goes_wrong_with_it_costs_a_note_and_no_publish(shop: Connection) -> None:
    rows(shop, "alter table ops.publication_marts add check (tests_passed < 0)")
    publish_run("run 1", FACTS)
    assert rows(shop, "select content from analytics.m") == [("one",)]
    assert "Its receipts lack how far each mart can be trusted: " in publications.live(shop).notes[0]


def test_after_a_restore_nothing_is_said_until_a_run_publishes(shop: Connection) -> None:
    """Of `ops` alone: nobody knows what is in `analytics` then."""
    publish_run("run 1", FACTS)
    rows(shop, "update ops.publications set schema_oid = 0")
    assert rows(shop, "select * from analytics.trust") == []
    build(shop, "run 2", "two", BUILT, PASSED)
    publish_run("run 2", FACTS)
    assert row(shop, "tests_passed") == (1,)
    rows(shop, "alter schema ops rename to ops_replaced")
    migrate.upgrade()
    with shop.cursor() as cursor:
        trust.renew(cursor)
    assert rows(shop, "select * from analytics.trust") == [], "it reads what was kept aside"
