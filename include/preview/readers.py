"""Whose views and functions on the marts a change of the project would break: by what Postgres knows that they read.

A publish makes each of them again on the new marts (`include.publish.beside_marts`); one that doesn't fit is lost. Of a
function whose body is a string Postgres knows nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include.daily import buffers
from include.preview.report import BrokenReader, Kind, Plan
from include.publish import beside_marts
from include.publish.beside_marts import Reader
from include.settings import LIVE
from include.warehouse import roles
from include.warehouse.relation import Relation

# The columns of a relation by name, with their types; a table has system columns too, a view none.
_Columns = dict[str, str]
# All that reads what: views, and functions whose body is SQL.
_EDGES = """
select
    pg_rewrite.ev_class as reader, 'pg_class'::regclass as class,
    pg_depend.refobjid as read, pg_depend.refclassid as read_class, pg_depend.refobjsubid as nth
from pg_depend
join pg_rewrite on pg_depend.classid = 'pg_rewrite'::regclass and pg_rewrite.oid = pg_depend.objid
where pg_depend.refobjid <> pg_rewrite.ev_class
union all
select pg_proc.oid, 'pg_proc'::regclass, pg_depend.refobjid, pg_depend.refclassid, pg_depend.refobjsubid
from pg_depend
join pg_proc on pg_depend.classid = 'pg_proc'::regclass and pg_proc.oid = pg_depend.objid
where pg_proc.prosqlbody is not null
"""


def broken(
    connection: Connection, plan: Plan, before: Mapping[str, Relation], after: Mapping[str, Relation]
) -> tuple[BrokenReader, ...]:
    """Views and functions of people that would not work once what is `after` is published, by name. Only reads.

    `before` and `after` are relations by the unique ids of models; a mart is published under its name of `before`. One
    that is not gone and not in `after` was not built, and nothing is published then. What reads a broken view breaks
    with it. A mart with row security that becomes a view is told as well: it is refused.
    """
    found: dict[str, BrokenReader] = {}
    with connection.cursor() as cursor:
        ours = {relation.name for relation in before.values()} | buffers.relations(cursor, LIVE)
        readers = {
            reader.oid: reader
            for reader in beside_marts.readers(cursor, LIVE, LIVE, [f"{LIVE}.{name}" for name in sorted(ours)])
            if reader.owner != roles.DEVELOPER  # a sandbox's
        }
        reads = _reads(cursor, readers)
        for model in plan.models:
            is_gone = model.kind is Kind.GONE
            if model.unique_id not in before or not (is_gone or model.unique_id in after):
                continue
            name = before[model.unique_id].name
            mart = f"{LIVE}.{name}"
            columns = {} if is_gone else _columns(cursor, after[model.unique_id])
            for oid, read in reads[name].items():
                if why := _gone(mart, model.kind) or _unlike(read, columns):
                    reader = readers[oid]
                    found.setdefault(reader.name, BrokenReader(reader.name, reader.kind, reader.owner, mart, why))
                    for kind, behind, owner, through in _behind(cursor, reader):
                        why = f"It reads {through}, which would break."
                        found.setdefault(behind, BrokenReader(behind, kind, owner, mart, why))
            if not is_gone and (owner := _shows_every_row(cursor, name, after[model.unique_id])):
                why = "It would be a view, which can have no row security: the publish would be refused."
                found.setdefault(mart, BrokenReader(mart, "row security", owner, mart, why))
    return tuple(found[name] for name in sorted(found))


def _reads(cursor: Cursor, readers: Collection[int]) -> dict[str, dict[int, _Columns]]:
    """Of each mart that is published, by name, who reads it, by oid, with the columns."""
    cursor.execute(
        f"""
        select marts.relname, edges.reader, attname, format_type(atttypid, atttypmod)
        from ({_EDGES}) as edges
        join pg_class as marts
            on read_class = 'pg_class'::regclass and marts.oid = read and relnamespace = to_regnamespace(%s)
        left join pg_attribute on attrelid = marts.oid and attnum = nth and nth <> 0
        where reader = any(%s)
        order by attnum
        """,  # noqa: S608 - a constant
        (LIVE, list(readers)),
    )
    found: dict[str, dict[int, _Columns]] = defaultdict(lambda: defaultdict(dict))
    for mart, reader, column, type_ in cursor.fetchall():
        columns = found[mart][reader]
        if column is not None:
            columns[column] = type_
    return found


def _columns(cursor: Cursor, relation: Relation) -> _Columns:
    cursor.execute(
        """
        select attname, format_type(atttypid, atttypmod)
        from pg_class as relations
        join pg_namespace as spaces on spaces.oid = relnamespace and nspname = %s
        join pg_attribute on attrelid = relations.oid and not attisdropped
        where relname = %s
        """,
        relation,
    )
    return dict(cursor.fetchall())


def _gone(mart: str, kind: Kind) -> str | None:
    return f"It reads {mart}, which no model would make any more." if kind is Kind.GONE else None


def _unlike(read: _Columns, columns: _Columns) -> str | None:
    """What becomes of columns that somebody reads; None where they are as before."""
    gone = [column for column in read if column not in columns]
    retyped = [column for column in read if column in columns and columns[column] != read[column]]
    parts = []
    if gone:
        parts.append(f"{', '.join(gone)}, which would be gone")
    parts += [f"{column}, which would be {columns[column]} and is {read[column]}" for column in retyped]
    return f"It reads {'; '.join(parts)}." if parts else None


def _behind(cursor: Cursor, reader: Reader) -> list[tuple[str, str, str, str]]:
    """What reads a reader, and what reads that: kind, name, owner, and the name of what it reads."""
    cursor.execute(
        f"""
        with recursive edges as materialized ({_EDGES}),

        -- A view and a function may have the same oid.
        things as (
            select
                pg_class.oid, 'pg_class'::regclass as class,
                case relkind when 'm' then 'materialized view' else 'view' end as kind,
                format('%%I.%%I', nspname, relname) as name, relowner as owner
            from pg_class
            join pg_namespace on pg_namespace.oid = relnamespace
            union all
            select
                pg_proc.oid, 'pg_proc'::regclass, 'function',
                format('%%I.%%I(%%s)', nspname, proname, pg_get_function_identity_arguments(pg_proc.oid)), proowner
            from pg_proc
            join pg_namespace on pg_namespace.oid = pronamespace
        ),

        behind as (
            select edges.* from edges where read = %(oid)s and read_class = %(class)s::regclass
            union
            select edges.*
            from behind
            join edges on edges.read = behind.reader and edges.read_class = behind.class
        )

        select readers.kind, readers.name, pg_get_userbyid(readers.owner), read_things.kind || ' ' || read_things.name
        from (select distinct reader, class, read, read_class from behind) as behind
        join things as readers on readers.oid = reader and readers.class = behind.class
        join things as read_things on read_things.oid = read and read_things.class = read_class
        order by 2, 4
        """,  # noqa: S608 - a constant
        {"oid": reader.oid, "class": "pg_proc" if reader.kind == "function" else "pg_class"},
    )
    return cursor.fetchall()


def _shows_every_row(cursor: Cursor, mart: str, after: Relation) -> str | None:
    """The owner of a published table with row security that a view would take the place of; None of any other."""
    cursor.execute(
        """
        select pg_get_userbyid(olds.relowner)
        from pg_class as olds
        join pg_class as news on news.relname = %(name)s
        join pg_namespace as spaces on spaces.oid = news.relnamespace and spaces.nspname = %(schema)s
        where olds.relnamespace = to_regnamespace(%(live)s) and olds.relname = %(mart)s
            and olds.relrowsecurity and news.relkind in ('v', 'm')
        """,
        after._asdict() | {"live": LIVE, "mart": mart},
    )
    row = cursor.fetchone()
    return row[0] if row else None
