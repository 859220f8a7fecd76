"""What people put on the marts: rights, row security, comments, storage options, and what can't go with a publish.

It belongs to the name that they gave it to, and not to one of the two buffers, so it goes over to the new marts. What
is to be done after the exchange is looked up before it, in the names of after it.
"""

from __future__ import annotations

from psycopg2.extensions import cursor as Cursor

from include.publish.changes import Change
from include.warehouse import roles


def rights(cursor: Cursor, live: str, built: str) -> list[Change]:
    """Give what people were given on what is live to what will be, and take it from what will be built into.

    What each publish lets our own roles read is `roles.open_to_readers`'. Default privileges of a role that we are not
    stay with the schema that is renamed, so they are named.
    """
    cursor.execute(
        """
        with names (schema, other) as (values (%(live)s, %(built)s), (%(built)s, %(live)s)),
        relations as (
            select
                spaces.nspname, tables.oid, tables.relname, tables.relacl, tables.relowner,
                twins.oid as twin
            from pg_class as tables
            join pg_namespace as spaces on spaces.oid = tables.relnamespace
            join names on names.schema = spaces.nspname
            left join pg_class as twins
                on twins.relname = tables.relname and twins.relnamespace = to_regnamespace(names.other)
            where tables.relkind in ('r', 'p', 'v', 'm') and pg_has_role(tables.relowner, 'usage')
        ),
        granted (kind, objects, schema, role, name, twin, column_name, grantee, privilege, is_grantable) as (
            select
                'schema', null, nspname, nspowner, nspname, null::oid, null, acl.grantee, privilege_type, is_grantable
            from pg_namespace cross join aclexplode(nspacl) as acl
            where pg_has_role(nspowner, 'usage')
            union all
            select 'table', null, nspname, relowner, relname, twin, null, acl.grantee, privilege_type, is_grantable
            from relations cross join aclexplode(relacl) as acl
            where nspname = %(live)s
            union all
            select 'table', null, nspname, relowner, relname, twin, attname, acl.grantee, privilege_type, is_grantable
            from relations
            join pg_attribute on attrelid = relations.oid
            cross join aclexplode(attacl) as acl
            where nspname = %(live)s
            union all
            select
                case when pg_has_role(defaclrole, 'usage') then 'default' else 'default of others' end,
                case defaclobjtype
                    when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions' when 'T' then 'types'
                end,
                nspname, defaclrole, null, null, null, acl.grantee, privilege_type, is_grantable
            from pg_default_acl
            join pg_namespace on pg_namespace.oid = defaclnamespace
            cross join aclexplode(defaclacl) as acl
        ),
        people as (
            select
                kind, objects, schema, names.other, role, name, twin, column_name,
                case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end as grantee,
                privilege || coalesce(' (' || quote_ident(column_name) || ')', '') as privilege,
                case when is_grantable then ' with grant option' else '' end as option
            from granted
            join names using (schema)
            where grantee <> role
                and (
                    pg_get_userbyid(grantee) <> all(%(ours)s)
                    or is_grantable
                    or (kind, privilege) not in (('schema', 'USAGE'), ('table', 'SELECT'))
                )
        )
        select 1, format('revoke all on schema %%I from %%s cascade', other, grantee), grantee
        from people where kind = 'schema' group by other, grantee
        union all
        select 1,
            format('revoke all on table %%s from %%s cascade',
                string_agg(distinct format('%%I.%%I', other, name), ', '), grantee),
            grantee
        from people where kind = 'table' group by grantee
        union all
        select 1,
            format('alter default privileges for role %%I in schema %%I revoke all on %%s from %%s',
                pg_get_userbyid(role), other, objects, grantee),
            grantee
        from people where kind = 'default' group by role, other, objects, grantee
        union all
        select 2, format('grant %%s on schema %%I to %%s%%s', privilege, schema, grantee, option), grantee
        from people where kind = 'schema'
        union all
        select 2,
            format('grant %%s on table %%s to %%s%%s', privilege, string_agg(format('%%I.%%I', schema, name), ', '),
                grantee, option),
            grantee
        from people
        where kind = 'table'
            and exists (
                select from pg_attribute
                where attrelid = twin and not attisdropped and attname = coalesce(column_name, attname)
            )
        group by privilege, grantee, option
        union all
        select 2,
            format('alter default privileges for role %%I in schema %%I grant %%s on %%s to %%s%%s',
                pg_get_userbyid(role), schema, privilege, objects, grantee, option),
            grantee
        from people
        where kind = 'default'
            or kind = 'default of others'
            and schema = %(live)s
            and not exists (
                select from people as others
                where others.schema = people.other
                    and (others.kind, others.role, others.objects, others.grantee, others.privilege)
                    = (people.kind, people.role, people.objects, people.grantee, people.privilege)
            )
        union all
        select 2,
            format('grant %%s on table %%s to %%s%%s', privilege, string_agg(format('%%I.%%I', schema, relname), ', '),
                grantee, option),
            grantee
        from people
        join relations on relations.nspname = other and relations.twin is null and relations.relowner = people.role
        where kind = 'default' and objects = 'tables' and schema = %(live)s
        group by privilege, grantee, option
        order by 1, 2
        """,
        {"live": live, "built": built, "ours": list(roles.OPENED_TO)},
    )
    return [
        Change(
            statement, f"a right of {grantee} could not go with the publish, so it has to be given again: {statement}"
        )
        for _, statement, grantee in cursor.fetchall()
    ]


def shown_by_a_view(cursor: Cursor, live: str, built: str) -> str | None:
    """A table with row security whose rows a view, which can have none, would show from now on; None where none is."""
    cursor.execute(
        """
        select olds.relname
        from pg_class as olds
        join pg_class as news on news.relname = olds.relname and news.relkind in ('v', 'm')
        where olds.relnamespace = to_regnamespace(%s)
            and olds.relrowsecurity
            and news.relnamespace = to_regnamespace(%s)
        order by 1
        limit 1
        """,
        (live, built),
    )
    row = cursor.fetchone()
    return row[0] if row else None


def row_security(cursor: Cursor, live: str, built: str) -> list[Change]:
    """Let row security go over to the new marts: who builds must not run what people wrote, nor see less for it."""
    cursor.execute(
        """
        with tables as (
            select olds.relname, olds.oid, news.oid as twin, olds.relrowsecurity, olds.relforcerowsecurity
            from pg_class as olds
            left join pg_class as news
                on news.relname = olds.relname
                and news.relkind = 'r'
                and news.relnamespace = to_regnamespace(%(built)s)
            where olds.relnamespace = to_regnamespace(%(live)s)
                and olds.relkind = 'r'
                and pg_has_role(olds.relowner, 'usage')
        )
        select 1, format('alter table %%I.%%I %%s row level security', schema, relname, what), relname, null, null
        from tables
        cross join lateral (
            values
                (%(built)s, 'disable', relrowsecurity),
                (%(built)s, 'no force', relforcerowsecurity),
                (%(live)s, 'enable', relrowsecurity and twin is not null),
                (%(live)s, 'force', relforcerowsecurity and twin is not null)
        ) as switches (schema, what, is_meant)
        where is_meant
        union all
        select 2, format('drop policy %%I on %%I.%%I', policyname, %(built)s, relname), relname, policyname, null
        from tables
        join pg_policies on schemaname = %(live)s and tablename = relname
        union all
        select
            3,
            format('create policy %%I on %%I.%%I as %%s for %%s to %%s', policyname, %(live)s, relname, permissive, cmd,
                roles)
            || coalesce(' using (' || qual || ')', '') || coalesce(' with check (' || with_check || ')', ''),
            relname, policyname,
            format('create policy %%I on %%I.%%I as restrictive to %%s using (false)', policyname, %(live)s, relname,
                roles)
        from tables
        join (
            select
                schemaname, tablename, policyname, permissive, cmd, qual, with_check,
                (select string_agg(case role when 'public' then role else quote_ident(role) end, ', ')
                from unnest(roles) as role) as roles
            from pg_policies
        ) as policies on schemaname = %(live)s and tablename = relname
        where twin is not null and not exists (select from pg_policy where polrelid = twin and polname = policyname)
        union all
        select
            4,
            format('comment on policy %%I on %%I.%%I is %%L', polname, %(live)s, relname,
                obj_description(pg_policy.oid, 'pg_policy')),
            relname, null, null
        from tables
        join pg_policy on polrelid = tables.oid
        where twin is not null and obj_description(pg_policy.oid, 'pg_policy') is not null
        order by 1, 2
        """,
        {"live": live, "built": built},
    )
    return [
        Change(
            statement,
            f"policy {policy} of table {table} does not fit what is published now, so whom it is for sees no row: drop "
            "it and create it again"
            if policy
            else f"row security of table {table} could not go with the publish: {statement}",
            instead or "",
        )
        for _, statement, table, policy, instead in cursor.fetchall()
    ]


def comments_and_options(cursor: Cursor, live: str, built: str) -> list[Change]:
    """Let comments, security labels, storage options and the like go over to what has none of its own."""
    cursor.execute(
        """
        with words (letter, word) as (values ('r', 'table'), ('v', 'view'), ('m', 'materialized view')),
        tables as (
            select
                olds.relname, olds.oid, news.oid as twin, olds.relkind, news.relkind as twins_kind,
                old_words.word, new_words.word as twins_word
            from pg_class as olds
            join pg_class as news on news.relname = olds.relname
            join words as old_words on old_words.letter = olds.relkind
            join words as new_words on new_words.letter = news.relkind
            where olds.relnamespace = to_regnamespace(%(live)s)
                and news.relnamespace = to_regnamespace(%(built)s)
                and pg_has_role(olds.relowner, 'usage')
        ),
        columns as (
            select pg_attribute.*
            from pg_attribute
            where attnum > 0 and not attisdropped
                and attrelid in (select oid from tables union all select twin from tables)
        ),
        said (kind, provider, relation, number, words) as (
            select 'comment', null, objoid, objsubid, description
            from pg_description where classoid = 'pg_class'::regclass
            union all
            select 'security label', provider, objoid, objsubid, label
            from pg_seclabel where classoid = 'pg_class'::regclass
        ),
        comments as (
            select
                kind || coalesce(' for ' || quote_ident(provider), '') as kind, relname, words,
                case number when 0 then twins_word else 'column' end as what,
                case number when 0 then word else 'column' end as former,
                coalesce('.' || quote_ident(olds.attname), '') as of_column
            from tables
            join said on relation = oid
            left join columns as olds on olds.attrelid = tables.oid and olds.attnum = number
            left join columns as news on news.attrelid = twin and news.attname = olds.attname
            where (number = 0 or news.attnum is not null)
                and not exists (
                    select from said as others
                    where others.relation = twin and others.number = coalesce(news.attnum, 0)
                        and others.kind = said.kind and others.provider is not distinct from said.provider
                )
        ),
        kept (relation, attname, setting) as (
            select oid, null, unnest(reloptions) from pg_class
            union all
            select owners.oid, null, 'toast.' || unnest(toasts.reloptions)
            from pg_class as owners join pg_class as toasts on toasts.oid = owners.reltoastrelid
            union all
            select attrelid, attname, unnest(attoptions) from columns
            union all
            select attrelid, attname, 'statistics=' || attstattarget from columns where attstattarget >= 0
        ),
        options as (
            select
                relname, coalesce(' alter column ' || quote_ident(attname), '') as of_column,
                split_part(setting, '=', 1) as option, substr(setting, strpos(setting, '=') + 1) as value
            from tables
            join kept on relation = oid and relkind = twins_kind
            where (
                attname is null
                or exists (select from columns as news where news.attrelid = twin and news.attname = kept.attname)
            )
                and not exists (
                    select from kept as others
                    where others.relation = twin and others.attname is not distinct from kept.attname
                        and split_part(others.setting, '=', 1) = split_part(kept.setting, '=', 1)
                )
        )
        select format('%%s on %%s %%I.%%I%%s is %%L', kind, what, %(live)s, relname, of_column, words), relname
        from comments
        union all
        select format('comment on %%s %%I.%%I%%s is null', former, %(built)s, relname, of_column), relname
        from comments
        where kind = 'comment'
        union all
        select
            format('alter table %%I.%%I%%s ', %(live)s, relname, of_column)
            || case option
                when 'statistics' then 'set statistics ' || value else format('set (%%s = %%L)', option, value)
            end,
            relname
        from options
        union all
        select
            format('alter table %%I.%%I%%s ', %(built)s, relname, of_column)
            || case option when 'statistics' then 'set statistics -1' else format('reset (%%s)', option) end,
            relname
        from options
        order by 2, 1
        """,
        {"live": live, "built": built},
    )
    return [
        Change(statement, f"this could not go with the publish, on table {table}: {statement}")
        for statement, table in cursor.fetchall()
    ]


def left_behind(cursor: Cursor, live: str, built: str) -> list[str]:
    """What to say of what somebody put on the marts that can't go over: it was made for one table, or takes time."""
    cursor.execute(
        """
        with things (kind, name, mart, likeness) as (
            select
                'index', indexes.relname, indrelid,
                indisunique::text || substring(pg_get_indexdef(indexrelid), ' USING .*')
            from pg_index
            join pg_class as indexes on indexes.oid = indexrelid
            where indexes.relname !~ '^[0-9a-f]{32}$'  -- dbt's own
                and not exists (select from pg_constraint where conindid = indexrelid)
            union all
            select
                'constraint', conname, conrelid,
                -- Each of two marts refers to the one beside it.
                replace(pg_get_constraintdef(pg_constraint.oid), coalesce(referred.oid::regclass || '(', ''),
                    coalesce(referred.relname || '(', ''))
            from pg_constraint
            left join pg_class as referred on referred.oid = confrelid
            where contype in ('c', 'u', 'p', 'x', 'f')
            union all
            select 'statistics', stxname, stxrelid, stxkind::text || pg_get_statisticsobjdef_columns(oid)
            from pg_statistic_ext
            union all
            select 'trigger', tgname, tgrelid, tgname from pg_trigger where not tgisinternal
            union all
            select 'rule', rulename, ev_class, rulename from pg_rewrite where rulename <> '_RETURN'
            union all
            select 'publication', pubname, prrelid, pubname
            from pg_publication_rel
            join pg_publication on pg_publication.oid = prpubid
        ),
        marts as (
            select olds.oid, olds.relname, news.oid as twin
            from pg_class as olds
            join pg_class as news on news.relname = olds.relname
            where olds.relkind in ('r', 'p', 'v', 'm')
                and olds.relnamespace = to_regnamespace(%(live)s)
                and news.relnamespace = to_regnamespace(%(built)s)
        )
        select kind, name, 'table ' || relname
        from things
        join marts on marts.oid = things.mart
        where not exists (
            select from things as others
            where others.mart = twin and others.kind = things.kind and others.likeness = things.likeness
        )
        union all
        select 'publication', pubname, 'schema ' || %(live)s
        from pg_publication_namespace
        join pg_publication on pg_publication.oid = pnpubid
        where pnnspid = to_regnamespace(%(live)s)
        order by 1, 2, 3
        """,
        {"live": live, "built": built},
    )
    return [
        f"{kind} {name} on {where} is not on what is published now, since it was made for one of two copies: let the "
        "model make it (its indexes, a post-hook), or drop it"
        for kind, name, where in cursor.fetchall()
    ]
