"""What was written of a person in texts: which columns of `ops` are such, and what of a text goes."""

from __future__ import annotations

import json
import time
from uuid import uuid4

import pytest
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from include.answers import answers
from include.answers.answer import About, Kind
from include.erase import texts
from include.erase.person import Person
from include.results import node_results, publications, runs
from include.results.nodes import NodeResult
from include.slack import outbox
from include.slack.message import Message
from tests.include.erase.conftest import ANN, ask, everything, forget

pytestmark = pytest.mark.db

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
    publications.run_id releases.stamp risks.awaited risks.why rows_of_raw.filled rows_of_raw.table_name runs.release
    runs.run_id schedules.schedule snapshots.config snapshots.name snapshots.run_id stand_ins.content stand_ins.hash
    stand_ins.of_user stand_ins.stand_in stand_ins.table_name told.metric unusual.because unusual.column_name
    unusual.item unusual.measure unusual.run_id unusual.unique_id watermarks.source
"""


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
