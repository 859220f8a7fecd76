"""Sandboxes: schemas of one's own beside production's, where a preview or a developer builds.

`<name>` takes the place of `analytics`, `<name>_staging` that of `staging`, `<name>_snapshots` and `<name>_ops` those
of the other two, and a schema of a project's own is there as `<name>_marketing`. Their owner is `greenery_developer`,
who can write nowhere else. What a sandbox is for, who used it last and when is in the comment on the first of its
schemas, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include.warehouse import transaction
from include.warehouse.login import at_a_shell

# No schema of production begins so: what is dropped by its name is nobody else's.
PREFIXES = BRANCH, PREVIEW = ("branch_", "preview_")
_LONGEST = 40
# Nor does it end as the name of a schema of another sandbox.
_NAME = rf"({'|'.join(PREFIXES)})[a-z0-9_]{{1,{_LONGEST}}}(?<!_staging)(?<!_snapshots)(?<!_ops)"
# One that nobody has used for so long is dropped, by `make branch` and after each daily run.
KEPT_FOR = timedelta(days=14)
# The first half of the advisory lock that a session holds while it works in a sandbox; the second is the name's hash.
_IN_USE = 704_774


class SandboxError(RuntimeError):
    """Nothing was changed; the message says why and what to do."""


@dataclass(frozen=True)
class Sandbox:
    """A sandbox by its name, such as `preview_ana` or `branch_ana`."""

    name: str

    @property
    def marts(self) -> str:
        """dbt's target schema."""
        return self.name

    @property
    def staging(self) -> str:
        """The schema of staging views and of what incremental models changed."""
        return f"{self.name}_staging"

    @property
    def snapshots(self) -> str:
        """The schema of snapshots that are taken in the sandbox."""
        return f"{self.name}_snapshots"

    @property
    def ops(self) -> str:
        """The schema of what dbt's macros remember of the sandbox."""
        return f"{self.name}_ops"

    @property
    def schemas(self) -> tuple[str, ...]:
        """Those that every sandbox has."""
        return (self.marts, self.staging, self.snapshots, self.ops)


class Use(NamedTuple):
    """A sandbox that is there: what for, by whom it was used last, and when that was, in UTC."""

    sandbox: Sandbox
    purpose: str
    by: str
    last_used: datetime


def name_of(prefix: str, given: str) -> str:
    """The name of a sandbox for what people call it: `branch_`, `Ana's try` → `branch_ana_s_try`.

    What is too long is cut, and told apart by a hash. Raises ValueError for what can't name one.
    """
    slug = re.sub(r"[^a-z0-9]+", "_", given.lower()).strip("_")
    if len(slug) > _LONGEST:
        slug = f"{slug[: _LONGEST - 9]}_{hashlib.sha256(given.encode()).hexdigest()[:8]}"
    name = f"{prefix}{slug}"
    if not re.fullmatch(_NAME, name):
        raise ValueError(
            f"{given!r} can't name a sandbox: it takes letters from a to z and digits, and doesn't end in staging, "
            "snapshots or ops, as schemas of sandboxes do"
        )
    return name


def create(connection: Connection, name: str, purpose: str) -> Sandbox:
    """Make a sandbox, or go on with one that is there; commits.

    It is this session's until the connection closes: keep that open for as long as you work in it. Raises
    SandboxError where another session works in it, and where a schema of the name is no sandbox of this role.
    """
    sandbox = Sandbox(name)
    _check_name(name)
    with transaction(connection) as cursor:
        _take(cursor, sandbox)
        there = _owners(cursor, sandbox)
        if strangers := {schema: owner for schema, (owner, ours) in there.items() if not ours}:
            schema, owner = next(iter(strangers.items()))
            raise SandboxError(f"Schema {schema} is {owner}'s; nothing was changed. Take another name.")
        if there and not _use(cursor, sandbox):
            raise SandboxError(
                f"Schema {next(iter(there))} is there and is no sandbox; nothing was changed. Take another name, or "
                "drop that schema."
            )
        for schema in sandbox.schemas:
            cursor.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(schema)))
        _note(cursor, sandbox, purpose)
    connection.commit()
    return sandbox


def touch(connection: Connection, sandbox: Sandbox) -> None:
    """Note that it is used now, by who works here; commits. Raises SandboxError where it is gone."""
    with transaction(connection) as cursor:
        if not (use := _use(cursor, sandbox)):
            raise SandboxError(
                f"There is no sandbox {sandbox.name}. `make branch` makes one, and lists those there are."
            )
        _note(cursor, sandbox, use.purpose)
    connection.commit()


def drop(connection: Connection, sandbox: Sandbox) -> bool:
    """Drop it with all that is in it; commits. Returns whether it was there.

    Raises SandboxError where another session works in it, and where it is no sandbox of this role.
    """
    _check_name(sandbox.name)
    with transaction(connection) as cursor:
        _take(cursor, sandbox)
        there = _owners(cursor, sandbox)
        if there and not _use(cursor, sandbox):
            raise SandboxError(f"Schema {next(iter(there))} is no sandbox of yours; nothing was dropped.")
        for schema in _of(cursor, sandbox):
            cursor.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(schema)))
    connection.commit()
    _let_go(connection, sandbox)
    return bool(there)


def all_of(connection: Connection) -> list[Use]:
    """The sandboxes of this role, those not used for longest first; that is noted in whole seconds, so then by name."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select nspname from pg_namespace where nspname ~ %s and pg_has_role(nspowner, 'usage')",
            (f"^{_NAME}$",),
        )
        found = [_use(cursor, Sandbox(name)) for (name,) in cursor.fetchall()]
    return sorted((use for use in found if use), key=lambda use: (use.last_used, use.sandbox.name))


def drop_unused(connection: Connection, older_than: timedelta = KEPT_FOR) -> list[Sandbox]:
    """Drop the sandboxes that nobody has used for so long, and that nobody works in; commits. Returns them."""
    before = datetime.now(UTC) - older_than
    dropped = []
    for use in all_of(connection):
        if use.last_used < before:
            try:
                drop(connection, use.sandbox)
            except SandboxError:  # somebody works in it, whose turn it is to say so
                continue
            dropped.append(use.sandbox)
    connection.commit()  # or what comes next, as a parse, would find the session ended for being idle in a transaction
    return dropped


def _check_name(name: str) -> None:
    if not re.fullmatch(_NAME, name):
        raise ValueError(f"{name!r} is no name of a sandbox; `sandbox.name_of` makes one of what people say")


def _take(cursor: Cursor, sandbox: Sandbox) -> None:
    """Take the lock of a sandbox for this session. Raises SandboxError where another one has it."""
    cursor.execute("select pg_try_advisory_lock(%s, hashtext(%s))", (_IN_USE, sandbox.name))
    if cursor.fetchone()[0]:
        return
    cursor.execute(
        """
        select format('%%s (%%s, pid %%s)', usename, coalesce(nullif(application_name, ''), 'no name'), pid)
        from pg_locks
        join pg_stat_activity using (pid)
        where locktype = 'advisory' and granted and pg_locks.database = datid and datname = current_database()
            and (classid::bigint, objid::bigint, objsubid)
                = (%s, hashtext(%s)::bigint & x'ffffffff'::bigint, 2)
        """,
        (_IN_USE, sandbox.name),
    )
    holder = ", ".join(name for (name,) in cursor.fetchall()) or "somebody"
    use = _use(cursor, sandbox)
    by = f"{use.by}, since {use.last_used:%d %b %H:%M} UTC: session {holder}" if use else f"session {holder}"
    raise SandboxError(
        f"Sandbox {sandbox.name} is in use by {by}. Nothing was changed. Wait until that has ended, or take another "
        "name."
    )


def _let_go(connection: Connection, sandbox: Sandbox) -> None:
    """Give the lock back as often as this session took it."""
    with connection.cursor() as cursor:
        is_held = True
        while is_held:
            cursor.execute("select pg_advisory_unlock(%s, hashtext(%s))", (_IN_USE, sandbox.name))
            [[is_held]] = cursor.fetchall()
    connection.commit()


def _owners(cursor: Cursor, sandbox: Sandbox) -> dict[str, tuple[str, bool]]:
    """Those of its schemas that are there: whose they are, and whether that is this role."""
    cursor.execute(
        """
        select nspname::text, pg_get_userbyid(nspowner)::text, pg_has_role(nspowner, 'usage')
        from pg_namespace
        where nspname = any(%s)
        order by nspname
        """,
        (list(sandbox.schemas),),
    )
    return {schema: (owner, ours) for schema, owner, ours in cursor.fetchall()}


def _of(cursor: Cursor, sandbox: Sandbox) -> list[str]:
    """Its schemas that are there and this role's, those of the project's own included.

    What begins with the name of another sandbox that begins with this one's (`preview_ana_was`) is that one's.
    """
    cursor.execute(
        "select nspname::text from pg_namespace"
        " where pg_has_role(nspowner, 'usage') and starts_with(nspname || '_', %s) order by 1",
        (f"{sandbox.name}_",),
    )
    found = [name for (name,) in cursor.fetchall()]
    others = [one for one in found if one != sandbox.name and re.fullmatch(_NAME, one) and _use(cursor, Sandbox(one))]
    return [one for one in found if not any(f"{one}_".startswith(f"{other}_") for other in others)]


def _use(cursor: Cursor, sandbox: Sandbox) -> Use | None:
    """What is noted of a sandbox; None where it is not there, or is none of this role's."""
    cursor.execute(
        "select obj_description(oid, 'pg_namespace') from pg_namespace"
        " where nspname = %s and pg_has_role(nspowner, 'usage')",
        (sandbox.marts,),
    )
    row = cursor.fetchone()
    try:
        noted = json.loads(row[0]) if row and row[0] else {}
        return Use(sandbox, noted["purpose"], noted["by"], datetime.fromisoformat(noted["last_used"]).astimezone(UTC))
    except (ValueError, KeyError, TypeError):  # somebody's own comment
        return None


def _note(cursor: Cursor, sandbox: Sandbox, purpose: str) -> None:
    noted = {
        "purpose": purpose,
        "by": at_a_shell(cursor.connection),
        "last_used": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    cursor.execute(
        sql.SQL("comment on schema {} is {}").format(sql.Identifier(sandbox.marts), sql.Literal(json.dumps(noted)))
    )
