"""What people have beside the marts: tables, views and functions of their own in the two schemas, and what reads marts.

When the schemas are exchanged it stays where people know it, and reads the new marts by the names in its own words.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include import settings
from include.publish.changes import Change, attempt, make


@dataclass(frozen=True)
class Reader:
    """A view of somebody's, or a function with a body of SQL or a mart's row type: it follows the table, not the name.

    `schema` is the mart's; `statement` makes the reader again, None where we may not.
    """

    oid: int
    kind: str
    name: str
    owner: str
    schema: str
    statement: str | None


def stay(cursor: Cursor, live: str, built: str, models: Mapping[str, Collection[str]]) -> list[str]:
    """Take what is somebody's own in either schema into the other, which gets its name; returns what there is to say.

    `models` has the names, by schema, of what is not somebody's own.
    """
    cursor.execute(
        """
        with things (class, oid, kind, letter, schema, name, said, owner) as (
            select
                'pg_class'::regclass, oid, 'table', relkind::text, relnamespace, relname::text,
                format('%%I', relname), relowner
            from pg_class
            where relkind in ('r', 'p', 'v', 'm', 'f')
                or relkind = 'S' and not exists (
                    select from pg_depend
                    where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype in ('a', 'i')
                )
            union all
            select 'pg_proc'::regclass, oid, 'routine', null, pronamespace, null,
                format('%%I(%%s)', proname, pg_get_function_identity_arguments(oid)), proowner
            from pg_proc
            union all
            select 'pg_type'::regclass, oid, 'type', null, typnamespace, null, format('%%I', typname), typowner
            from pg_type
            where typtype in ('d', 'e', 'r')
                or typtype = 'c' and (select relkind from pg_class where oid = typrelid) = 'c'
            union all
            select
                'pg_operator'::regclass, oid, 'operator', null, oprnamespace, null,
                format('%%s (%%s, %%s)', oprname, coalesce(nullif(oprleft, 0)::regtype::text, 'none'),
                    oprright::regtype),
                oprowner
            from pg_operator
            union all
            select
                'pg_collation'::regclass, oid, 'collation', null, collnamespace, null,
                format('%%I', collname), collowner
            from pg_collation
            union all
            select
                'pg_ts_config'::regclass, oid, 'text search configuration', null, cfgnamespace, null,
                format('%%I', cfgname), cfgowner
            from pg_ts_config
            union all
            select
                'pg_ts_dict'::regclass, oid, 'text search dictionary', null, dictnamespace, null,
                format('%%I', dictname), dictowner
            from pg_ts_dict
            union all
            select
                'pg_extension'::regclass, oid, 'extension', null, extnamespace, null, format('%%I', extname), extowner
            from pg_extension
        )
        select
            case letter
                when 'v' then 'view' when 'm' then 'materialized view' when 'f' then 'foreign table'
                when 'S' then 'sequence' else kind
            end,
            spaces.nspname, said, pg_get_userbyid(owner)
        from things
        join pg_namespace as spaces on spaces.oid = things.schema
        where spaces.nspname in (%(live)s, %(built)s)
            -- What an extension has made goes with it.
            and not exists (select from pg_depend where classid = class and objid = things.oid and deptype = 'e')
            and coalesce(spaces.nspname || '.' || name <> all(%(models)s), true)
        -- First what is called with the names of types, which are others once those are taken.
        order by kind not in ('routine', 'operator'), 2, 3
        """,
        {
            "live": live,
            "built": built,
            "models": [f"{schema}.{name}" for schema, names in models.items() for name in names],
        },
    )
    other = {live: built, built: live}
    return make(
        cursor,
        [
            Change(
                f"alter {kind} {said if kind == 'extension' else f'{schema}.{said}'} set schema {other[schema]}",
                f"{kind} {said} of {owner} is in {other[schema]} now, with the schema that it was made in: its owner "
                "takes it to another schema",
            )
            for kind, schema, said, owner in cursor.fetchall()
        ],
    )


def in_the_way(cursor: Cursor, live: str, models: Mapping[str, Collection[str]]) -> tuple[str, str] | None:
    """A relation of somebody's own in what is live that has the name of a model, and its owner; None where none has."""
    cursor.execute(
        """
        select relname, pg_get_userbyid(relowner)
        from pg_class
        where relnamespace = to_regnamespace(%s) and relkind not in ('i', 'I', 't') and relname = any(%s)
        order by 1
        limit 1
        """,
        (live, sorted({name for names in models.values() for name in names} - set(models[live]))),
    )
    return cursor.fetchone()


def readers(cursor: Cursor, live: str, built: str, of_models: Collection[str]) -> list[Reader]:
    """Views and functions of people on marts; those in schemas of ours, and of models, are not counted.

    Nor those on what stays where it is, as `stay` leaves it: they read on. Nor what is temporary: it ends with its
    session, which alone may touch it.
    """
    marts = [name for name in of_models if name.split(".")[0] in (live, built)]
    cursor.execute(
        """
        select distinct
            things.oid, things.kind, format('%%I.%%I', spaces.nspname, things.name) || things.arguments,
            pg_get_userbyid(things.owner), marts.nspname,
            case
                when not pg_has_role(things.owner, 'usage') then null
                when things.kind = 'view' then
                    format('create or replace view %%I.%%I', spaces.nspname, things.name)
                    || coalesce(' with (' || array_to_string(things.options, ', ') || ')', '')
                    || ' as ' || pg_get_viewdef(things.oid)
                when things.kind = 'function' and not things.aggregates then pg_get_functiondef(things.oid)
            end
        from (
            select
                pg_depend.refobjid, views.oid, case views.relkind when 'v' then 'view' else 'materialized view' end,
                views.relname, views.relnamespace, views.relowner, views.reloptions, '', false
            from pg_depend
            join pg_rewrite on pg_rewrite.oid = pg_depend.objid
            join pg_class as views on views.oid = pg_rewrite.ev_class and views.relkind in ('v', 'm')
            where pg_depend.classid = 'pg_rewrite'::regclass
                and pg_depend.refclassid = 'pg_class'::regclass
                and pg_depend.refobjid <> views.oid
            union all
            select
                coalesce(row_types.typrelid, pg_depend.refobjid), functions.oid, 'function',
                functions.proname, functions.pronamespace, functions.proowner, null,
                '(' || pg_get_function_identity_arguments(functions.oid) || ')', functions.prokind = 'a'
            from pg_depend
            join pg_proc as functions on functions.oid = pg_depend.objid
            left join pg_type as types on refclassid = 'pg_type'::regclass and types.oid = refobjid
            left join pg_type as row_types on row_types.oid in (types.oid, types.typelem) and row_types.typrelid <> 0
            where pg_depend.classid = 'pg_proc'::regclass
                and (pg_depend.refclassid = 'pg_class'::regclass or row_types.typrelid is not null)
        ) as things (mart, oid, kind, name, schema, owner, options, arguments, aggregates)
        join pg_namespace as spaces on spaces.oid = things.schema
        join pg_class as tables on tables.oid = things.mart
        join pg_namespace as marts on marts.oid = tables.relnamespace
        where marts.nspname in (%(live)s, %(built)s)
            and (%(marts)s::text[] = '{}' or marts.nspname || '.' || tables.relname = any(%(marts)s))
            and spaces.nspname not in ('staging', 'snapshots', 'ops', %(raw)s)
            and spaces.nspname || '.' || things.name <> all(%(of_models)s)
            and not pg_is_other_temp_schema(spaces.oid)
        order by 3
        """,
        {"live": live, "built": built, "marts": marts, "raw": settings.raw_schema(), "of_models": list(of_models)},
    )
    return [Reader(*row) for row in cursor.fetchall()]


def tied(cursor: Cursor, live: str, of_models: Collection[str]) -> list[str]:
    """What to say of what else of somebody's stands on a mart, and would be dropped with it: it can't be made again.

    Policies and rules of tables of theirs that read it, foreign keys to it, tables that inherit from it and columns of
    its row type.
    """
    cursor.execute(
        """
        with marts as (
            select pg_class.oid, pg_class.reltype
            from pg_class join pg_namespace on pg_namespace.oid = relnamespace
            where nspname = %(live)s and nspname || '.' || relname = any(%(of_models)s)
        ),
        dependents as (
            select classid, objid, objsubid
            from pg_depend join marts on refclassid = 'pg_class'::regclass and refobjid = marts.oid
            where deptype = 'n'
            union
            select classid, objid, objsubid
            from pg_depend
            join pg_type on refclassid = 'pg_type'::regclass and pg_type.oid = refobjid
            join marts on marts.reltype in (pg_type.oid, pg_type.typelem)
            where deptype = 'n'
        ),
        tables as (
            select
                classid, objid, objsubid,
                case classid
                    when 'pg_policy'::regclass then (select polrelid from pg_policy where oid = objid)
                    when 'pg_constraint'::regclass then (select conrelid from pg_constraint where oid = objid)
                    when 'pg_rewrite'::regclass then (select ev_class from pg_rewrite where oid = objid)
                    when 'pg_class'::regclass then objid
                end as relation
            from dependents
        )
        select distinct pg_describe_object(classid, objid, objsubid)
        from tables join pg_class on pg_class.oid = relation
        where relkind in ('r', 'p', 'f', 'c') and not exists (select from marts where marts.oid = relation)
        order by 1
        """,
        {"live": live, "of_models": list(of_models)},
    )
    return [_is_lost(what) for (what,) in cursor.fetchall()]


def point_to(cursor: Cursor, live: str, reader: Reader) -> str | None:
    """Make a reader read the new marts by the names that it was written with; returns what to say where it can't."""
    if reader.schema == live and reader.statement and attempt(cursor, _replacing(cursor, reader)):
        return None
    return _is_lost(f"{reader.kind} {reader.name} of {reader.owner}")


def _is_lost(what: str) -> str:
    return (
        f"{what} does not read what is published now, and is dropped with the former marts: its owner has to create it "
        "again"
    )


def _replacing(cursor: Cursor, reader: Reader) -> sql.Composed:
    """The statement of a reader, as its owner, and refused where it would make another one, be it under the same name.

    It would where the reader is called otherwise by now, as a function with the row of a mart for an argument is once
    the schemas are exchanged. Whatever is made, it is never ours: it would do more than its owner may.
    """
    check = sql.SQL(
        """
        begin
            if {name} <> all(
                select format('%I.%I', nspname, relname)
                from pg_class join pg_namespace on pg_namespace.oid = relnamespace
                where {kind} = 'view' and pg_class.oid = {oid}
                union all
                select
                    format('%I.%I', nspname, proname) || '(' || pg_get_function_identity_arguments(pg_proc.oid) || ')'
                from pg_proc join pg_namespace on pg_namespace.oid = pronamespace
                where {kind} = 'function' and pg_proc.oid = {oid}
            ) then
                raise exception 'It is not called % any more', {name};
            end if;
        end
        """
    ).format(name=sql.Literal(reader.name), kind=sql.Literal(reader.kind), oid=sql.Literal(reader.oid))
    return sql.SQL("set local role {}; {}; reset role; do {}").format(
        sql.Identifier(reader.owner), sql.SQL(reader.statement), sql.Literal(check.as_string(cursor))
    )
