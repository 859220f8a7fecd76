"""Whether to read a table is to run code of somebody who may not build: it would run as who builds.

Postgres runs a row-security policy, and a function in a view, as whoever reads. So do an expression of an index and one
of statistics, which the planner works out, and a cast of a type. Whoever writes runs the triggers as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from psycopg2.extensions import cursor as Cursor

from include import settings
from include.warehouse import connect

_FOUND = """
with recursive
-- Roles as which somebody can work who can log in and has not the builder's rights anyway. One that nobody logs in as,
-- such as the owner of the raw tables, is none of them.
others as materialized (
    select roles.oid, roles.rolname
    from pg_roles as roles
    where exists (
        select
        from pg_roles as logins
        where logins.rolcanlogin
            and pg_has_role(logins.oid, roles.oid, 'member')
            and not pg_has_role(logins.oid, current_user, 'member')
            -- Who builds owns `ops`, and is trusted by the administrator, too.
            and not exists (
                select from pg_namespace where nspname = 'ops' and pg_has_role(logins.oid, nspowner, 'member')
            )
    )
),
-- The named tables, and what reading them reads as well: what a view shows, and tables that inherit.
read (relation, named) as (
    select to_regclass(name)::oid, true from unnest(%(tables)s::text[]) as name where to_regclass(name) is not null
    union
    select further.relation, false
    from read
    cross join lateral (
        select inhrelid as relation from pg_inherits where inhparent = read.relation
        union all
        select refobjid
        from pg_rewrite
        join pg_depend on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid
        where ev_class = read.relation and refclassid = 'pg_class'::regclass and refobjid <> ev_class
    ) as further
),
relations as (
    select read.relation, read.named, pg_class.*, spaces.nspname
    from (select relation, bool_or(named) as named from read group by relation) as read
    join pg_class on pg_class.oid = read.relation
    join pg_namespace as spaces on spaces.oid = relnamespace
    where (%(written)s or spaces.nspname <> all(%(ours)s)) and relkind in ('r', 'p', 'v', 'm', 'f')
),
parts (class, part, relation) as (
    select 'pg_rewrite'::regclass, pg_rewrite.oid, ev_class from pg_rewrite
    union all select 'pg_class'::regclass, indexrelid, indrelid from pg_index
    union all select 'pg_statistic_ext'::regclass, oid, stxrelid from pg_statistic_ext
    union all select 'pg_constraint'::regclass, oid, conrelid from pg_constraint where conrelid <> 0
    union all select 'pg_attrdef'::regclass, oid, adrelid from pg_attrdef
    union all select 'pg_trigger'::regclass, oid, tgrelid from pg_trigger where %(written)s and not tgisinternal
),
found (at, problem, way_out) as (
    select
        relation,
        case relkind when 'f' then 'is a foreign table' else 'is a view' end || ' of ' || others.rolname,
        'make it a table, or let the administrator drop it and make it'
    from relations
    join others on others.oid = relowner
    where relkind in ('v', 'f')
    union all
    select
        relation, 'belongs to ' || others.rolname || ', who could change it while a run reads it',
        'let the administrator call `python -m include.warehouse.roles`'
    from relations
    join others on others.oid = relowner
    where nspname = %(raw)s and relkind not in ('v', 'f')
    union all
    select
        relation, 'has row security, whose policies run as who reads',
        format('alter table %%s disable row level security', relation::regclass)
    from relations
    where relrowsecurity
    union all
    select
        relation, format('uses function %%s of %%s', functions.oid::regprocedure, others.rolname),
        'let its owner take the function out of there'
    from relations
    join parts using (relation)
    join pg_depend on classid = class and objid = part and deptype <> 'i'
    left join pg_operator on refclassid = 'pg_operator'::regclass and pg_operator.oid = refobjid
    join pg_proc as functions
        on functions.oid = case when refclassid = 'pg_proc'::regclass then refobjid else oprcode::oid end
    join others on others.oid = functions.proowner
    union all
    select
        relation, format('has a column %%I of the type %%s of %%s', attname, pg_type.oid::regtype, others.rolname),
        'give it a type of Postgres, or let a role own the type that nobody logs in as'
    from relations
    join pg_attribute on attrelid = relation and attnum > 0 and not attisdropped
    join pg_type as columns on columns.oid = atttypid
    join pg_type on pg_type.oid in (columns.oid, columns.typelem)
    join others on others.oid = pg_type.typowner
    where named
)
select at::regclass::text, problem, way_out from found
union all
-- What a model calls by the name of something of Postgres': another's may fit the arguments better.
select functions.oid::regprocedure::text, 'is a function of ' || others.rolname || ' with the name of one of Postgres',
    'let the administrator drop it, or move it to another schema'
from pg_proc as functions
join others on others.oid = proowner
where pronamespace = any(select to_regnamespace(quote_ident(name)) from unnest(current_schemas(false)) as name)
    and exists (select from pg_proc where pronamespace = 'pg_catalog'::regnamespace and proname = functions.proname)
union all
select operators.oid::regoperator::text, 'is an operator of ' || others.rolname,
    'let the administrator drop it, or move it to another schema'
from pg_operator as operators
join others on others.oid = oprowner
where oprnamespace = any(select to_regnamespace(quote_ident(name)) from unnest(current_schemas(false)) as name)
order by 1, 2
limit 3
"""


def problem(sources: Iterable[Mapping[str, Any]]) -> str | None:
    """What would run as who builds if these sources of a dbt project were read, and the way out; None where nothing.

    Asked by a run before it reads them. What is in a schema that the builder owns is the builder's.
    """
    tables = [(source["schema"], source["identifier"]) for source in sources]
    with connect("greenery check_sources") as connection, connection.cursor() as cursor:
        found = _found(cursor, tables, written=False)
    if not found:
        return None
    return (
        f"To read the sources would run somebody else's code as who builds: {found}. Nothing was built. Mend that, "
        "then clear this task with everything downstream."
    )


def code_of_others(cursor: Cursor, tables: Collection[tuple[str, str]]) -> str | None:
    """Whose code would run as us if these tables (schema, name) were read and written, and the way out; None if none's.

    Asked before an erasure changes rows, and before the raw tables change hands. Whoever asks as the administrator
    trusts who builds as well.
    """
    return _found(cursor, tables, written=True)


def _found(cursor: Cursor, tables: Collection[tuple[str, str]], *, written: bool) -> str | None:
    cursor.execute(
        "select format('%%I.%%I', schema, name) from unnest(%s::text[], %s::text[]) as tables (schema, name)",
        (
            [schema for schema, _ in tables],
            [name for _, name in tables],
        ),
    )
    cursor.execute(
        _FOUND,
        {
            "tables": [name for (name,) in cursor.fetchall()],
            "ours": list(settings.OUR_SCHEMAS),
            "raw": settings.raw_schema(),
            "written": written,
        },
    )
    return "; ".join(f"{what} {why} ({way_out})" for what, why, way_out in cursor.fetchall()) or None
