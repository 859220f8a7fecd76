"""Migrations of a warehouse that is in use: what it knew stays."""

from __future__ import annotations

import psycopg2
import pytest
from alembic import command
from alembic.config import Config
from psycopg2.extensions import connection as Connection
from sqlalchemy import create_engine

from include.settings import PROJECT_ROOT, Warehouse
from include.warehouse import migrate

pytestmark = pytest.mark.db


def downgrade(where: Warehouse, revision: str) -> None:
    """Back to a revision, as somebody would who has to."""
    engine = create_engine(
        "postgresql+psycopg2://",
        creator=lambda: psycopg2.connect(host=where.host, port=where.port, dbname=where.database, user=where.user),
    )
    config = Config()
    config.set_main_option("script_location", str(PROJECT_ROOT / "include" / "warehouse" / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
    engine.dispose()


def test_messages_outlive_the_way_to_the_outbox_and_back(db: Connection, warehouse: Warehouse) -> None:
    downgrade(warehouse, "0003")
    with db.cursor() as cursor:
        cursor.execute(
            """
            insert into ops.messages (run_id, kind, headline, body, blocks, sent_at, problem)
            values
                ('run 1', 'failed', 'sent', 'x', '[]', now(), null),
                ('run 1', 'published', 'refused', 'x', '[]', null, '403'),
                ('run 2', 'published', 'without Slack', 'x', '[]', null, null)
            """
        )
    migrate.upgrade()
    with db.cursor() as cursor:
        cursor.execute("select headline, audience, number, waiting from ops.messages order by message_id")
        assert cursor.fetchall() == [
            ("sent", "engineers", 1, False),
            ("refused", "engineers", 2, True),
            ("without Slack", "engineers", 1, False),
        ]
        cursor.execute("select count(*) from ops.watch where since > now() - interval '1 minute'")
        assert cursor.fetchone() == (1,)
    downgrade(warehouse, "0003")
    with db.cursor() as cursor:
        cursor.execute("select count(*) from ops.messages")
        assert cursor.fetchone() == (3,)


def test_the_outbox_takes_a_message_of_a_run_once(db: Connection) -> None:
    statement = (
        "insert into ops.messages (run_id, kind, headline, body, blocks, number) values ('a', 'x', '', '', '[]', 1)"
    )
    with db.cursor() as cursor:
        cursor.execute(statement)
        with pytest.raises(psycopg2.errors.UniqueViolation):
            cursor.execute(statement)


def test_which_models_were_written_is_known_of_buffers_that_were_there_before(
    db: Connection, warehouse: Warehouse
) -> None:
    downgrade(warehouse, "0006")
    with db.cursor() as cursor:
        for oid, dirty in ((1, False), (2, True)):
            cursor.execute(
                "insert into ops.buffers (schema_oid, run_id, since, rebuild, scan, dirty)"
                " values (%s, 'run', now(), false, false, %s)",
                (oid, dirty),
            )
            cursor.execute(
                "insert into ops.buffer_models (schema_oid, unique_id, rebuilt) values (%s, 'model.m', false)", (oid,)
            )
    migrate.upgrade()
    with db.cursor() as cursor:
        cursor.execute("select schema_oid::int, written from ops.buffer_models order by 1")
        assert cursor.fetchall() == [(1, False), (2, True)]
        cursor.execute("select schema_oid::int, ahead from ops.buffers order by 1")
        assert cursor.fetchall() == [(1, []), (2, [])]


def test_what_the_live_load_wrote_to_is_dropped_and_what_is_called_alike_stays(
    db: Connection, warehouse: Warehouse
) -> None:
    downgrade(warehouse, "0009")
    with db.cursor() as cursor:
        cursor.execute(
            "create schema raw_incoming create table events (event_id text);"
            "comment on schema raw_incoming is"
            " 'Of Greenery''s live load: whatever is in here is dropped by the next one.';"
            "create schema other_incoming"
        )
    migrate.upgrade()
    with db.cursor() as cursor:
        cursor.execute("select nspname from pg_namespace where nspname like '%incoming'")
        assert cursor.fetchall() == [("other_incoming",)]
        cursor.execute("drop schema other_incoming")
