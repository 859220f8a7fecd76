"""Migrations of a warehouse that is in use: what it knew stays."""

from __future__ import annotations

import psycopg2
import pytest
from alembic import command as alembic
from psycopg2.extensions import connection as Connection

from include.results import figures, publications
from include.warehouse import migrate
from tests.forks import Forks, command

pytestmark = pytest.mark.db


def test_messages_outlive_the_way_to_the_outbox_and_back(db: Connection) -> None:
    migrate.downgrade("0003")
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
    migrate.downgrade("0003")
    with db.cursor() as cursor:
        cursor.execute("select count(*) from ops.messages")
        assert cursor.fetchone() == (3,)


def test_of_decisions_of_before_logins_were_kept_the_name_stays(db: Connection) -> None:
    migrate.downgrade("0013")
    with db.cursor() as cursor:
        cursor.execute("insert into ops.decisions (action, decided_by, reason) values ('hold', 'ada', 'why')")
    migrate.upgrade()
    assert publications.hold(db).by == "unknown login, who signs as ada"
    migrate.downgrade("0013")
    with db.cursor() as cursor:
        cursor.execute("select decided_by from ops.decisions")
        assert cursor.fetchall() == [("ada",)]


def test_what_was_published_and_stated_before_receipts_were_kept_stays(db: Connection) -> None:
    migrate.downgrade("0017")
    with db.cursor() as cursor:
        cursor.execute(
            """
            insert into ops.runs (run_id, release) values ('run 1', 'a release');
            insert into ops.publications (published_at, run_id, schema_oid, data_as_of)
            values (now(), 'run 1', 0, now());
            insert into ops.metrics (run_id, metric, value) values ('run 1', 'revenue', 41207)
            """
        )
    migrate.upgrade()
    with db.cursor() as cursor:
        cursor.execute(
            "insert into ops.told (metric, day, publication_id, value) values ('revenue', '2026-11-24', 1, 2)"
        )
        cursor.execute("select metric, value, day, publication_id from ops.metrics")
        assert cursor.fetchall() == [("revenue", 41207, None, None)]
        assert figures.stated(db, 1) == {}
    migrate.downgrade("0017")
    with db.cursor() as cursor:
        cursor.execute("select run_id, value from ops.metrics join ops.publications using (run_id)")
        assert cursor.fetchall() == [("run 1", 41207)]


def test_what_a_bot_has_said_is_dated_by_when_it_got_its_words(db: Connection) -> None:
    """Once it came to be dated as it was sent, for it may have shown progress before; and some had waited for Slack."""
    migrate.downgrade("0021")
    with db.cursor() as cursor:
        cursor.execute(
            """
            insert into ops.messages
                (run_id, audience, kind, headline, body, blocks, created_at, tried_at, sent_at, ts)
            select run_id, audience, 'published', what, 'x', '[]', created_at, tried_at, sent_at, ts
            from (values
                ('run 1', 'engineers', 'showed progress', timestamptz '2026-11-24 06:00+00',
                    timestamptz '2026-11-24 06:00+00', timestamptz '2026-11-24 06:05+00', '1.0'),
                ('run 1', 'stakeholders', 'waited', '2026-11-24 06:04:59+00',
                    '2026-11-24 06:05+00', '2026-11-24 09:00+00', '1.0'),
                ('decision 1', 'engineers', 'waited as well', '2026-11-24 06:04:59+00',
                    '2026-11-24 06:05+00', '2026-11-24 09:00+00', '1.0'),
                ('run 2', 'engineers', 'by a webhook', '2026-11-24 06:04+00',
                    '2026-11-24 06:04+00', '2026-11-24 09:00+00', null),
                ('run 4', 'engineers', 'results forgotten', '2026-11-24 06:04+00',
                    '2026-11-24 06:04+00', '2026-11-24 06:04:01+00', '1.0')
            ) as said (run_id, audience, what, created_at, tried_at, sent_at, ts);
            insert into ops.runs (run_id, release) values ('run 1', 'x'), ('run 3', 'x');
            insert into ops.node_results (
                run_id, task_id, attempt, unique_id, resource_type, name, status, seconds, failing_rows, recorded_at
            )
            select run_id, 'build', 1, 'model.m', 'model', 'm', 'success', 1, '[]', recorded_at
            from (values ('run 1', timestamptz '2026-11-24 06:04:50+00'), ('run 3', '2026-11-24 10:00+00'))
                as built (run_id, recorded_at)
            """
        )
    with migrate._migrating(None) as (config, _):
        alembic.upgrade(config, "0022")
    with db.cursor() as cursor:  # the old version goes on for a while, and the new one begins
        cursor.execute(
            """
            insert into ops.messages (run_id, kind, headline, body, blocks, number, created_at, tried_at, sent_at, ts)
            values
                ('run 3', 'failed', 'since', 'x', '[]', 1,
                    '2026-11-24 09:58+00', '2026-11-24 09:58+00', '2026-11-24 10:01+00', '2.0'),
                ('run 3', 'failed', 'by the new version', 'x', '[]', 2,
                    '2026-11-24 10:20+00', '2026-11-24 10:10+00', '2026-11-24 10:30+00', '2.0')
            """
        )
    migrate.upgrade()
    with db.cursor() as cursor:
        cursor.execute("select headline, to_char(created_at, 'HH24:MI:SS') from ops.messages order by message_id")
        assert dict(cursor.fetchall()) == {
            "showed progress": "06:04:50",
            "waited": "06:05:00",
            "waited as well": "06:05:00",
            "by a webhook": "06:04:00",
            "results forgotten": "06:04:00",
            "since": "10:00:00",
            "by the new version": "10:20:00",
        }


def test_the_outbox_takes_a_message_of_a_run_once(db: Connection) -> None:
    statement = (
        "insert into ops.messages (run_id, kind, headline, body, blocks, number) values ('a', 'x', '', '', '[]', 1)"
    )
    with db.cursor() as cursor:
        cursor.execute(statement)
        with pytest.raises(psycopg2.errors.UniqueViolation):
            cursor.execute(statement)


def test_which_models_were_written_is_known_of_buffers_that_were_there_before(
    db: Connection,
) -> None:
    migrate.downgrade("0006")
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
    db: Connection,
) -> None:
    migrate.downgrade("0009")
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


def test_an_older_version_refuses_what_a_newer_one_migrated_and_says_how_to_go_back(
    db: Connection, forks: Forks
) -> None:
    with db.cursor() as cursor:
        cursor.execute("select version_num from ops.alembic_version")
        [newest] = cursor.fetchone()
        cursor.execute("update ops.alembic_version set version_num = 'of the future'")
    refused = forks.run(command("include.warehouse.migrate"))
    assert refused.code == 1
    assert "A newer version has migrated the warehouse" in refused.stderr
    assert "of the future" in refused.stderr
    with db.cursor() as cursor:
        cursor.execute("update ops.alembic_version set version_num = %s", (newest,))


def test_the_command_takes_migrations_back_and_runs_them_again(db: Connection, forks: Forks) -> None:
    there = "select version_num, to_regclass('ops.releases') is not null from ops.alembic_version"
    assert forks.run(command("include.warehouse.migrate", "0010")).code == 0
    with db.cursor() as cursor:
        cursor.execute(there)
        assert cursor.fetchone() == ("0010", False)
    unknown = forks.run(command("include.warehouse.migrate", "9999"))
    assert (unknown.code, "There is no migration 9999" in unknown.stderr) == (1, True)
    assert forks.run(command("include.warehouse.migrate")).code == 0
    with db.cursor() as cursor:
        cursor.execute(there)
        assert cursor.fetchone()[1]
