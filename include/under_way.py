"""What is under way in the warehouse, for who wants to know why something waits; and the end of a session.

    python -m include.under_way
    python -m include.under_way end 4711

Lists who reads the raw tables and when each was loaded, the newest messages and decisions, and the sessions that do
something, wait, or make others wait. Asks as the warehouse's administrator, who sees what everybody does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include import raw, settings
from include.raw import lease
from include.results.publications import PUBLISH, ROLL_BACK
from include.warehouse import connect
from include.words import moment

# How many messages, and how many decisions.
NEWEST = 5
# So much of a statement tells which one it is.
STATEMENT = 60
# A session that was told to end rolls back what it did.
PATIENCE_SECONDS = 30


class SessionError(RuntimeError):
    """A session that can't be ended; the message says why."""


def lines(connection: Connection) -> Iterator[str]:
    """All of it, a line each, under headings."""
    with connection.cursor() as cursor:
        for heading, found in (
            ("Raw tables", _raw(cursor)),
            ("Messages", _messages(cursor)),
            ("Decisions", _decisions(cursor)),
            ("Sessions", _sessions(cursor)),
        ):
            yield heading
            yield from (f"  {_plain(line)}" for line in found)


def end(connection: Connection, pid: int) -> str:
    """End a session of this database, and say whose it was. Raises SessionError."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select coalesce(usename, 'somebody'), coalesce(nullif(application_name, ''), 'no name')
            from pg_stat_activity
            where pid = %s and datname = current_database() and pid <> pg_backend_pid()
            """,
            (pid,),
        )
        if not (whose := cursor.fetchone()):
            name = connection.info.dbname
            raise SessionError(
                f"There is no session {pid} in database {name}; nothing was ended. Look at the list again."
            )
        cursor.execute("select pg_terminate_backend(%s, %s)", (pid, PATIENCE_SECONDS * 1000))
        if not cursor.fetchone()[0]:
            raise SessionError(
                f"Session {pid} was told to end and has not after {PATIENCE_SECONDS} s. Look at the list again."
            )
    return _plain(f"Ended: session {pid} of {whose[0]} ({whose[1]}).")


def _raw(cursor: Cursor) -> Iterator[str]:
    held = lease.held(cursor)
    yield f"{held.holder} reads them since {moment(held.taken_at.replace(tzinfo=UTC))}" if held else "nobody reads them"
    if raw.exists(cursor, "loads"):
        cursor.execute(
            f"""
            select distinct on (table_name) table_name, loaded_at, rows
            from {settings.raw_schema()}.loads order by table_name, loaded_at desc
            """  # noqa: S608 - a plain name
        )
        for name, at, rows in cursor.fetchall():
            yield f"{name}: {rows} rows were loaded at {moment(at)}"


def _messages(cursor: Cursor) -> Iterator[str]:
    cursor.execute(
        "select created_at, audience, headline, waiting, problem from ops.messages order by message_id desc limit %s",
        (NEWEST,),
    )
    for at, audience, headline, waiting, problem in cursor.fetchall():
        state = f", waits: {problem or 'not tried yet'}" if waiting else f", {problem}" if problem else ""
        yield f"{moment(at)}, for {audience}: {headline}{state}"


def _decisions(cursor: Cursor) -> Iterator[str]:
    cursor.execute(
        """
        select
            decided_at, action, decided_by || coalesce(', who signs as ' || name_given, ''), reason,
            action = any(%s) and published_at is null
        from ops.decisions
        left join ops.publications using (decision_id)
        order by decision_id desc
        limit %s
        """,
        ([PUBLISH, ROLL_BACK], NEWEST),
    )
    for at, action, by, reason, without_effect in cursor.fetchall():
        yield f"{moment(at)}, {action} by {by}: {reason}{', without effect' if without_effect else ''}"


def _sessions(cursor: Cursor) -> Iterator[str]:
    """Those that are idle and in nobody's way are left out."""
    cursor.execute(
        """
        with sessions as (
            select pg_stat_activity.*, pg_blocking_pids(pid) as waits_for
            from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()
        )

        select
            pid,
            coalesce(usename, backend_type),
            coalesce(nullif(application_name, ''), 'no name'),
            coalesce(host(client_addr), 'here'),
            coalesce(state, 'state unknown'),
            coalesce(xact_start, query_start, backend_start),
            waits_for,
            left(query, %s)
        from sessions
        where state is distinct from 'idle' or pid in (select unnest(waits_for) from sessions)
        order by xact_start, pid
        """,
        (STATEMENT,),
    )
    for pid, who, application, address, state, since, waits_for, query in cursor.fetchall():
        waits = f", waits for {', '.join(map(str, waits_for))}" if waits_for else ""
        yield f"{pid}: {who}, {application}, from {address}, {state} since {moment(since)}{waits}: {query}"


def _plain(text: str) -> str:
    """On one line, and without characters that a terminal would obey."""
    return "".join(one if one.isprintable() else "?" for one in " ".join(text.split()))


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 where it can't be told, or a session can't be ended."""
    parser = argparse.ArgumentParser(
        prog="python -m include.under_way", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("end", help="end a session").add_argument("pid", type=int, help="its number in the list")
    options = parser.parse_args(arguments)
    try:
        with connect("greenery under way", settings.warehouse_admin()) as connection:
            if options.command == "end":
                print(end(connection, options.pid))
            else:
                print(*lines(connection), sep="\n")
    except (SessionError, psycopg2.Error) as error:
        print(str(error).strip(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
