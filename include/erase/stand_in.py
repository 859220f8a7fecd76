"""The stand-ins of an erasure: made, noted in `ops.stand_ins` for the loads to come, and put into raw."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from include import raw, settings
from include.erase.person import Person
from include.erase.places import KEPT_ASIDE, Place
from include.raw import stand_ins
from include.raw.contract import PERSONS, TABLES
from include.raw.stand_ins import HASH
from include.warehouse import exists

# The key of a stand-in begins so, and is random.
PREFIX = "erased-"
# What is told of an address by which people sum up, and the marts that have it, with what it is called by there.
_PLACE = ("state", "country")
_TELLING_OF_PLACES = {"dim_users": "", "fact_orders": "shipping_"}


class CertificateError(ValueError):
    """A certificate can't be used here; the message says why."""


@dataclass(frozen=True)
class StandIns:
    """Who stands in for a person, and which address for each of the person's; others live at the `shared` ones."""

    user: str
    addresses: dict[str, str]
    shared: frozenset[str]


def of(cursor: Cursor, person: Person, erasure_id: int) -> StandIns:
    """The stand-ins of a person: those of an earlier erasure, else new ones. Those of addresses are noted."""
    earlier = _noted(cursor, "users", person.user_id)
    user = earlier[0][0] if earlier else _new()
    addresses, shared = {}, set()
    for key in sorted(key for key in person.address_ids if not key.startswith(PREFIX)):
        row = _raw_row(cursor, "addresses", key) or _former_place(cursor, key)
        if row.get("address"):
            person.values.setdefault("address", set()).add(row["address"])
        noted = [
            (stand_in, is_shared)
            for stand_in, is_shared, of_user in _noted(cursor, "addresses", key)
            if of_user == user
        ]
        stand_in, is_shared = noted[0] if noted else (_new(), _others_live_at(cursor, key, person.user_id))
        if not noted:
            needed = row or _named_in_raw(cursor, "address_id", key, ("users", "orders"))
            content = _emptied(cursor, "addresses", row, stand_in) if needed else None
            _note(cursor, "addresses", key, stand_in, user, is_shared, content, erasure_id)
        addresses[key] = stand_in
        if is_shared:
            shared.add(key)
    return StandIns(user, addresses, frozenset(shared))


def put_into_raw(cursor: Cursor, user_id: str, known: StandIns, erasure_id: int) -> None:
    """Let raw have a row of each stand-in that its orders and events name, and note the user's for the loads to come.

    The shop may have deleted the user, whose orders have to stay: then what the marts told last is taken.
    """
    row = _raw_row(cursor, "users", known.user)
    if row is None and _named_in_raw(cursor, "user_id", known.user, ("orders", "events")):
        row = _former_profile(cursor, known.user)
        row["address_id"] = known.addresses.get(row.get("address_id"), row.get("address_id"))
        _insert(cursor, "users", _emptied(cursor, "users", row, known.user))
        row = _raw_row(cursor, "users", known.user)
    content = _emptied(cursor, "users", row, known.user) if row else None
    if not _noted(cursor, "users", user_id):
        _note(cursor, "users", user_id, known.user, known.user, False, content, erasure_id)
    cursor.execute(
        "select stand_in, content from ops.stand_ins where table_name = 'addresses' and of_user = %s", (known.user,)
    )
    for stand_in, address in cursor.fetchall():
        if _raw_row(cursor, "addresses", stand_in) is None and _named_in_raw(
            cursor, "address_id", stand_in, ("users", "orders")
        ):
            _insert(cursor, "addresses", address)


def erased_before(cursor: Cursor, user_id: str) -> tuple[int, str] | None:
    """The number of the erasure of a user, and who stands in for the user; None where there was none."""
    cursor.execute(
        sql.SQL(
            "select erasure_id, stand_in from ops.erasures join ops.stand_ins using (erasure_id)"
            " where table_name = 'users' and hash = {}"
        ).format(sql.SQL(HASH.format(id="%s"))),
        (user_id,),
    )
    return cursor.fetchone()


def as_told(cursor: Cursor, user: str) -> list[dict[str, Any]]:
    """What `ops.stand_ins` has of who stands in for a user, for the certificate."""
    cursor.execute(
        "select to_jsonb(noted) - 'erasure_id' from ops.stand_ins as noted where of_user = %s order by stand_in",
        (user,),
    )
    return [row for (row,) in cursor.fetchall()]


def key_id(cursor: Cursor, schema: str = "ops") -> str:
    """Says which key the hashes were made with, and nothing of it."""
    cursor.execute(
        sql.SQL("select left(encode(sha256(key), 'hex'), 16) from {}").format(sql.Identifier(schema, "erasure_key"))
    )
    return cursor.fetchone()[0]


def learn(cursor: Cursor, certificates: Iterable[dict[str, Any]]) -> None:
    """Note the stand-ins of certificates, and of what a restore kept aside. Raises CertificateError."""
    here = key_id(cursor)
    aside = f"ops{KEPT_ASIDE}"
    if exists(cursor, f"{aside}.stand_ins") and key_id(cursor, aside) == here:
        cursor.execute(
            sql.SQL(
                "select erased_at::text, erased_by, reason, changed, %s,"
                " (select jsonb_agg(to_jsonb(known)) from {0} as known where known.erasure_id = erasures.erasure_id)"
                " from {1} as erasures order by erasure_id"
            ).format(sql.Identifier(aside, "stand_ins"), sql.Identifier(aside, "erasures")),
            (here,),
        )
        names = ("erased_at", "erased_by", "reason", "changed", "key", "stand_ins")
        certificates = [*certificates, *(dict(zip(names, row, strict=True)) for row in cursor.fetchall())]
    for certificate in certificates:
        if certificate.get("key") != here:
            raise CertificateError(
                "A certificate is of another warehouse, or the backup is from before erasures were kept: its hashes "
                "were made with another key. Nothing was erased. Erase the person by the id."
            )
        cursor.execute(
            "insert into ops.erasures (erased_at, erased_by, reason, changed) values (%s, %s, %s, %s)"
            " returning erasure_id",
            (certificate["erased_at"], certificate["erased_by"], certificate["reason"], Json(certificate["changed"])),
        )
        [[erasure_id]] = cursor.fetchall()
        cursor.execute(
            """
            insert into ops.stand_ins (table_name, hash, stand_in, of_user, shared, content, erasure_id)
            select table_name, hash, stand_in, of_user, shared, content, %s
            from jsonb_to_recordset(%s) as told (
                table_name text, hash text, stand_in text, of_user text, shared boolean, content jsonb
            )
            on conflict do nothing
            """,
            (erasure_id, Json(certificate["stand_ins"] or [])),
        )
        if not cursor.rowcount:  # it is known already
            cursor.execute("delete from ops.erasures where erasure_id = %s", (erasure_id,))


def ids_of_the_erased(cursor: Cursor, tables: Iterable[Place]) -> list[str]:
    """The ids of users who were erased and are in some table again."""
    found = set()
    for place in tables:
        for column in place.users:
            cursor.execute(
                sql.SQL(
                    "select id from (select distinct {} as id from {}) as ids"
                    " where {} in (select hash from ops.stand_ins where table_name = 'users')"
                ).format(sql.Identifier(column), place.named, sql.SQL(HASH.format(id="id")))
            )
            found |= {user_id for (user_id,) in cursor.fetchall()}
    return sorted(found)


def _new() -> str:
    return f"{PREFIX}{secrets.token_hex(16)}"


def _noted(cursor: Cursor, table: str, key: str) -> list[tuple[str, bool, str]]:
    """What is noted of a user or an address: the stand-in, whether it is shared, and whose it is."""
    cursor.execute(
        sql.SQL("select stand_in, shared, of_user from ops.stand_ins where table_name = %s and hash = {}").format(
            sql.SQL(HASH.format(id="%s"))
        ),
        (table, key),
    )
    return cursor.fetchall()


def _note(
    cursor: Cursor,
    table: str,
    key: str,
    stand_in: str,
    user: str,
    shared: bool,
    content: dict[str, Any] | None,
    erasure_id: int,
) -> None:
    cursor.execute(
        sql.SQL(
            "insert into ops.stand_ins (table_name, hash, stand_in, of_user, shared, content, erasure_id)"
            " values (%s, {}, %s, %s, %s, %s, %s)"
        ).format(sql.SQL(HASH.format(id="%s"))),
        (table, key, stand_in, user, shared, content and Json(content), erasure_id),
    )


def _others_live_at(cursor: Cursor, address: str, user_id: str) -> bool:
    """Whether raw has another user, or an order of one, at an address."""
    return any(
        _asked(
            cursor, "select exists (select from {} where address_id = %s and user_id <> %s)", table, address, user_id
        )
        for table in ("users", "orders")
        if raw.exists(cursor, table)
    )


def _named_in_raw(cursor: Cursor, column: str, key: str, tables: Iterable[str]) -> bool:
    return any(
        _asked(cursor, f"select exists (select from {{}} where {column} = %s)", table, key)  # noqa: S608 - constants
        for table in tables
        if raw.exists(cursor, table)
    )


def _raw_row(cursor: Cursor, table: str, key: str) -> dict[str, Any] | None:
    """A row of raw by its key, with the values as Postgres says them in JSON."""
    if not raw.exists(cursor, table):
        return None
    return _asked(
        cursor,
        f"select to_jsonb(held) from {{}} as held where {PERSONS[table]} = %s limit 1",  # noqa: S608 - a constant
        table,
        key,
    )


def _asked(cursor: Cursor, query: str, table: str, *parameters: str) -> Any:
    cursor.execute(sql.SQL(query).format(raw.named(table)), parameters)
    row = cursor.fetchone()
    return row[0] if row else None


def _emptied(cursor: Cursor, table: str, row: dict[str, Any], stand_in: str) -> dict[str, Any]:
    """What stays of a row of raw in its stand-in."""
    hidden = stand_ins.personal_in(cursor, TABLES[table])
    return {name: row.get(name) for name in TABLES[table].columns if name not in hidden} | {PERSONS[table]: stand_in}


def _former_place(cursor: Cursor, address: str) -> dict[str, Any]:
    """Where an address was that the shop has deleted, as the marts say who have it; nothing where they don't."""
    for schema, (table, prefix) in product((settings.LIVE, settings.BUILT), _TELLING_OF_PLACES.items()):
        key, *place = (f"{prefix}{name}" for name in ("address_id", *_PLACE))
        cursor.execute(
            "select attname::text from pg_attribute where attrelid = to_regclass(%s) and attname = any(%s)",
            (f"{schema}.{table}", [key, *place]),
        )
        there = {name for (name,) in cursor.fetchall()}
        told = sorted(there - {key})
        if told and key in there:
            cursor.execute(
                sql.SQL("select {} from {} where {} = %s limit 1").format(
                    sql.SQL(", ").join(map(sql.Identifier, told)), sql.Identifier(schema, table), sql.Identifier(key)
                ),
                (address,),
            )
            if (row := cursor.fetchone()) and any(row):
                return {name.removeprefix(prefix): value for name, value in zip(told, row, strict=True)}
    return {}


def _former_profile(cursor: Cursor, user: str) -> dict[str, Any]:
    """What the marts say of a stand-in, where they have the columns of raw; else the first thing that the user did."""
    for schema in (settings.LIVE, settings.BUILT):
        if exists(cursor, f"{schema}.dim_users"):
            cursor.execute(
                sql.SQL("select to_jsonb(held) from {} as held where to_jsonb(held) ->> 'user_id' = %s").format(
                    sql.Identifier(schema, "dim_users")
                ),
                (user,),
            )
            if (row := cursor.fetchone()) and row[0].get("created_at"):
                return {name: row[0].get(name) for name in ("address_id", "created_at", "updated_at")}
    firsts = [
        _asked(cursor, "select min(created_at)::text from {} where user_id = %s", table, user)
        for table in ("orders", "events")
    ]
    return {"created_at": min(filter(None, firsts))}


def _insert(cursor: Cursor, table: str, content: dict[str, Any]) -> None:
    """Put the row of a stand-in into raw, as one that is loaded now."""
    if table in raw.views(cursor):
        return
    columns = sql.SQL(", ").join(map(sql.Identifier, TABLES[table].columns))
    cursor.execute(
        sql.SQL(
            "insert into {0} ({1}, _loaded_at) select {1}, clock_timestamp() from jsonb_populate_record(null::{0}, %s)"
        ).format(raw.named(table), columns),
        (Json(content),),
    )
