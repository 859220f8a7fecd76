"""The locks of an exchange: in which order they are taken, how long is waited for them, and who stands in the way.

A reader locks a view first, then what the view reads, so an exchange takes its locks in that order: the other way round
each would wait for the other, and Postgres would end one of them, mostly the reader.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from graphlib import CycleError, TopologicalSorter

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include.warehouse import connect

# Nobody who reads waits longer for an exchange that waits for others.
LONGEST_WAIT = 800
# Who stood in the way, by pid: what each look at them said.
Seen = dict[int, list[str]]
# Who a session is, its program, pid and state, in words.
_HOLDER = """
    case
        when sessions.backend_type = 'autovacuum worker' then sessions.query
        else coalesce(sessions.usename, 'somebody')
    end
    || format(' (%%s, pid %%s, ', coalesce(nullif(sessions.application_name, ''), 'no name'), holders.pid)
    || coalesce(sessions.state, 'state unknown')
    || coalesce(to_char(sessions.xact_start at time zone 'UTC', '" since "YYYY-MM-DD HH24:MI:SS" UTC"'), '') || ')'
"""
log = logging.getLogger(__name__)


class HeldError(Exception):
    """What was to be locked is gone, or is held in a way that can't be waited for: by whom, as pids and words."""

    def __init__(self, by: Collection[tuple[int, str]] = ()) -> None:
        super().__init__("; ".join(look for _, look in by))
        self.by = by


def not_got(error: Exception) -> bool:
    """Whether an attempt ended because somebody else held, changed or dropped what it needs: it is worth another."""
    # A row of the catalog that somebody had changed, by a GRANT say, and committed while it was waited for.
    overtaken = isinstance(error, psycopg2.errors.InternalError_) and "tuple concurrently" in str(error)
    return overtaken or isinstance(error, (psycopg2.errors.QueryCanceled, psycopg2.errors.DeadlockDetected, HeldError))


def keep_out_builders(cursor: Cursor, schema: str) -> None:
    """Keep whoever builds out of a schema; readers notice nothing of it.

    Nobody can change a row of its tables from then on, nor put another table or view in the place of one. What they
    have begun is waited for.
    """
    _wait_for_at_most(cursor, _of_maintenance(cursor))
    steps = [sql.SQL("lock table {} in share mode;").format(table) for table in _tables(cursor, (schema,))]
    # Of a view a reader's lock is enough. LOCK takes none of a materialized one, and asks for rights on what one reads.
    named = sql.Identifier(f"greenery {secrets.token_hex(8)}")
    steps += [
        sql.SQL("prepare {named} as select from {view}; deallocate {named};").format(
            named=named, view=sql.Identifier(*view)
        )
        for _, view, _ in _views(cursor, schema, ())
    ]
    try:
        if steps:
            cursor.execute(sql.SQL(" ").join(steps))
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName) as error:
        raise HeldError from error


def keep_out_maintenance(cursor: Cursor, schema: str) -> None:
    """Keep autovacuum, and whoever else changes no row, out of the tables of a schema; readers notice nothing of it.

    Postgres cancels an autovacuum for whoever has waited for longer than `deadlock_timeout`. Waiting for that long in
    the mode that keeps readers out would queue them all, and end in deadlocks.
    """
    _wait_for_at_most(cursor, _of_maintenance(cursor))
    if tables := _tables(cursor, (schema,)):
        cursor.execute(sql.SQL("lock table {} in share update exclusive mode").format(sql.SQL(", ").join(tables)))


def check_nobody_makes_anything(cursor: Cursor, *schemas: str) -> None:
    """Raise HeldError if somebody has not committed yet what they make in one of the schemas.

    A table, say: it would be in the one that is called otherwise by then. Postgres lets nobody lock a schema.
    """
    cursor.execute(
        f"""
        select holders.pid, pg_describe_object(classid, objid, 0) || ' was held by ' || {_HOLDER}
        from pg_locks as holders
        left join pg_stat_activity as sessions on sessions.pid = holders.pid
        where holders.locktype = 'object' and holders.granted and holders.pid <> pg_backend_pid()
            and holders.database = (select oid from pg_database where datname = current_database())
            and holders.classid = 'pg_namespace'::regclass
            and holders.objid in (select oid from pg_namespace where nspname = any(%s))
        """,  # noqa: S608 - a constant
        (list(schemas),),
    )
    if by := cursor.fetchall():
        raise HeldError(by)


def keep_out_readers(cursor: Cursor, schema: str, views: Collection[int], functions: Collection[int]) -> None:
    """Lock all that can be read in a schema, and views of elsewhere by their oids: views first, outer ones first.

    And functions of anywhere, which nobody can rename or drop from then on.

    In one statement, whose time ends below `deadlock_timeout`: a longer wait can end in a deadlock that kills a reader
    instead of us.
    """
    _wait_for_at_most(cursor, min(LONGEST_WAIT, 0.8 * _deadlock_timeout(cursor)))
    # LOCK would lock what a view reads as well, too early, and as the view's owner, who may only read that.
    steps = [
        sql.SQL("alter {} {} owner to {};").format(sql.SQL(kind), sql.Identifier(*name), sql.Identifier(owner))
        for kind, name, owner in _views(cursor, schema, views)
    ]
    steps += [sql.SQL(statement) for statement in _owned_already(cursor, functions)]
    if tables := _tables(cursor, (schema,)):
        steps.append(sql.SQL("lock table {} in access exclusive mode;").format(sql.SQL(", ").join(tables)))
    block = sql.SQL(" ").join([sql.SQL("begin"), *steps, sql.SQL("end")]).as_string(cursor)
    cursor.execute(sql.SQL("do {}").format(sql.Literal(block)))


@contextmanager
def watched(connection: Connection) -> Iterator[Seen]:
    """Looks who stands in the way of a session for as long as the block lasts."""
    seen: Seen = defaultdict(list)
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(connection.info.backend_pid, done, seen), daemon=True)
    watch.start()
    try:
        yield seen
    finally:
        done.set()
        watch.join()


def in_words(seen: Seen) -> str:
    """The three who stood in the way most often; nothing where nobody was seen."""
    return "; ".join(looks[-1] for looks in sorted(seen.values(), key=len, reverse=True)[:3])


def _watch(pid: int, done: threading.Event, seen: Seen) -> None:
    try:
        with connect("greenery publish") as connection:
            connection.autocommit = True
            while not done.wait(0.1):
                for holder, look in _in_the_way(connection, pid):
                    seen[holder].append(look)
    except psycopg2.Error:
        log.warning("It can't be seen who holds the exchange up.", exc_info=True)


def _in_the_way(connection: Connection, pid: int) -> list[tuple[int, str]]:
    """For whom a session waits at this moment, and what that session holds; its state only if we may see it."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            select
                holders.pid,
                coalesce(
                    case
                        when waits.locktype = 'transactionid' then 'a row of '
                        when relations.relkind = 'v' then 'view '
                        when relations.relkind = 'm' then 'materialized view '
                        else 'table '
                    end
                    || relations.oid::regclass,
                    pg_describe_object(waits.classid, waits.objid, 0)
                )
                || ' was held by ' || {_HOLDER}
            from pg_locks as waits
            -- Who waits for another's change of a row, as by a GRANT, has a lock on that row.
            left join pg_locks as rows
                on rows.pid = waits.pid and rows.locktype = 'tuple' and rows.granted
                and waits.locktype = 'transactionid'
            left join pg_class as relations on relations.oid = coalesce(waits.relation, rows.relation)
            cross join unnest(pg_blocking_pids(waits.pid)) as holders (pid)
            left join pg_stat_activity as sessions on sessions.pid = holders.pid
            where waits.pid = %s and not waits.granted and (relations.oid is not null or waits.locktype = 'object')
            """,  # noqa: S608 - a constant
            (pid,),
        )
        return cursor.fetchall()


def _deadlock_timeout(cursor: Cursor) -> int:
    """In milliseconds."""
    cursor.execute("select setting::int from pg_settings where name = 'deadlock_timeout'")
    return cursor.fetchone()[0]


def _of_maintenance(cursor: Cursor) -> int:
    """How long an autovacuum may take to give way, in milliseconds."""
    return 3 * _deadlock_timeout(cursor) + 2000


def _wait_for_at_most(cursor: Cursor, milliseconds: float) -> None:
    cursor.execute("set local statement_timeout = %s", (round(milliseconds),))


def _tables(cursor: Cursor, schemas: Collection[str]) -> list[sql.Identifier]:
    """The tables of schemas that we may lock, all but somebody else's."""
    cursor.execute(
        """
        select schemaname, tablename
        from pg_tables
        where schemaname = any(%s) and pg_has_role(tableowner, 'usage')
        order by schemaname, tablename
        """,
        (list(schemas),),
    )
    return [sql.Identifier(*name) for name in cursor.fetchall()]


def _owned_already(cursor: Cursor, functions: Collection[int]) -> list[str]:
    """Statements that give functions to who owns them, where we may: nothing but a lock comes of it."""
    cursor.execute(
        """
        select format('alter routine %%s owner to %%I;', oid::regprocedure, pg_get_userbyid(proowner))
        from pg_proc
        where oid = any(%s::oid[]) and pg_has_role(proowner, 'usage')
        order by oid
        """,
        (list(functions),),
    )
    return [statement for (statement,) in cursor.fetchall()]


def _views(cursor: Cursor, schema: str, views: Collection[int]) -> list[tuple[str, tuple[str, str], str]]:
    """Kind, name and owner of the views that we may lock, each before the views that it reads."""
    cursor.execute(
        """
        select
            views.oid, case views.relkind when 'm' then 'materialized view' else 'view' end,
            spaces.nspname, views.relname, owners.rolname
        from pg_class as views
        join pg_namespace as spaces on spaces.oid = views.relnamespace
        join pg_roles as owners on owners.oid = views.relowner
        where views.relkind in ('v', 'm')
            and (spaces.nspname = %s or views.oid = any(%s::oid[]))
            and pg_has_role(owners.oid, 'usage')
        order by spaces.nspname, views.relname
        """,
        (schema, list(views)),
    )
    found = {oid: (kind, (space, name), owner) for oid, kind, space, name, owner in cursor.fetchall()}
    cursor.execute(
        """
        select distinct pg_depend.refobjid, pg_rewrite.ev_class
        from pg_depend
        join pg_rewrite on pg_rewrite.oid = pg_depend.objid
        join pg_class as inner_views on inner_views.oid = pg_depend.refobjid and inner_views.relkind in ('v', 'm')
        where pg_depend.classid = 'pg_rewrite'::regclass
            and pg_depend.refclassid = 'pg_class'::regclass
            and pg_depend.refobjid <> pg_rewrite.ev_class
        """
    )
    order = TopologicalSorter(dict.fromkeys(found, ()))
    for inner, outer in cursor.fetchall():
        order.add(inner, outer)
    try:
        return [found[oid] for oid in order.static_order() if oid in found]
    except CycleError:  # views of somebody's that read each other can't be read at all
        return list(found.values())
