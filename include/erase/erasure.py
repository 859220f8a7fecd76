"""An erasure: one transaction that takes a person out of the warehouse and leaves a stand-in, or changes nothing.

What is told of the person is emptied, and the keys of user and addresses become those of stand-ins, the same
everywhere. So each order, session and buyer is counted as before, and no test misses a row. States and countries stay,
because sums are told by them; zip codes and streets go.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from include import raw, settings
from include.erase import person as persons
from include.erase import places, stand_in, texts
from include.erase.person import Person
from include.erase.places import EraseError, Place
from include.erase.stand_in import StandIns
from include.raw import lease
from include.warehouse import backups, connect, exists, personal, sandbox, trust

AGAIN = "Erased before, and brought back by a restore or a load."
# The certificate says who stands in for the person: who may have missed it is given it again, and later nobody.
_GIVEN_AGAIN = timedelta(days=1)
# Nobody waits for somebody's idle transaction for ever.
_PATIENCE = "30s"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Certificate:
    """What an erasure did: rows changed by table. It names nobody; with it the erasure can be carried out again.

    `not_looked_at` names the schemas that are not ours: what is in them nobody has read. `dropped` are the sandboxes
    that went with all that was in them. `stand_ins` are the rows of `ops.stand_ins`, hashed with the key that `key`
    stands for.
    """

    erasure_id: int
    erased_at: datetime
    erased_by: str
    reason: str
    changed: dict[str, int]
    not_looked_at: tuple[str, ...]
    stand_ins: list[dict[str, Any]]
    key: str
    dropped: tuple[str, ...] = ()

    def as_json(self) -> str:
        """To be kept outside the warehouse, at least for as long as a backup lives."""
        return json.dumps({**self.__dict__, "erased_at": self.erased_at.isoformat()}, ensure_ascii=False, indent=2)


@dataclass(frozen=True)
class Again:
    """What erasing once more came to: how many people had come back, and the sandboxes that went.

    `stayed` names what may still hold who was erased, each with what to do about it.
    """

    people: int
    dropped: tuple[str, ...]
    stayed: tuple[str, ...] = ()
    not_looked_at: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Sandboxes:
    """Those that were dropped after an erasure, and why others stayed, by their names.

    And all schemas that are not ours now, which nobody has read.
    """

    dropped: tuple[str, ...]
    stayed: dict[str, str]
    not_looked_at: tuple[str, ...]

    def reasons(self) -> tuple[str, ...]:
        """Why sandboxes stayed, those of other roles included."""
        others = [one for one in self.not_looked_at if one.startswith(sandbox.PREFIXES) and not self._is_known(one)]
        told = (f"Schema {', '.join(others)} is another role's: ask who made it to drop it.",) if others else ()
        return (*self.stayed.values(), *told)

    def of_others(self) -> tuple[str, ...]:
        """The schemas that nobody has read and that are no sandbox's."""
        return tuple(one for one in self.not_looked_at if not one.startswith(sandbox.PREFIXES))

    def _is_known(self, schema: str) -> bool:
        return any(f"{schema}_".startswith(f"{name}_") for name in self.stayed)


def erase(
    user_id: str,
    reason: str,
    by: Callable[[Connection], str],
    where: settings.Warehouse | None = None,
    developer: settings.Warehouse | None = None,
) -> Certificate:
    """Forget a person. `by` says who asks, as the database and the system know them. Raises EraseError.

    Runs, loads and decisions wait until it is over. Of a person who was erased within a day, and of whom nothing is
    left, the certificate of then is given again. Sandboxes are dropped afterwards, as `developer` or else as who
    erases, as far as that one may.
    """
    if not reason.strip():
        raise EraseError("An erasure takes a reason: the certificate keeps it. Nothing was erased.")
    try:
        with connect("greenery erasure", where) as connection, connection.cursor() as cursor:
            _be_alone(cursor)
            certificate = _erase(cursor, user_id, reason.strip(), by(connection))
    except psycopg2.errors.InsufficientPrivilege as error:
        raise EraseError(
            f"{_said(error)}, so nothing was erased. Let the administrator run `python -m include.warehouse.roles`, "
            "then erase again; or erase as the administrator, on the command line."
        ) from None
    except psycopg2.errors.LockNotAvailable:
        raise EraseError(
            f"A load was under way, or somebody held a table that has to be changed, for more than {_PATIENCE}, so "
            "nothing was erased. Wait, or end long queries and idle transactions, then erase again."
        ) from None
    except psycopg2.Error as error:  # whose details may quote rows
        raise EraseError(f"Nothing was erased: {_said(error)}.") from None
    if after := _drop_sandboxes(developer or where):
        return replace(certificate, dropped=after.dropped, not_looked_at=after.not_looked_at)
    return certificate


def again(
    certificates: list[dict[str, Any]], by: Callable[[Connection], str], where: settings.Warehouse | None = None
) -> Again:
    """Carry out all erasures that are known here or told by certificates, as after a restore. Raises EraseError.

    What a restore kept aside counts as known. Sandboxes are dropped also where nobody had come back: an earlier call
    may have been killed before it could drop them.
    """
    try:
        with connect("greenery erasure", where) as connection, connection.cursor() as cursor:
            _be_alone(cursor)
            stand_in.learn(cursor, certificates)
            found = stand_in.ids_of_the_erased(cursor, places.all_of_them(cursor))
            for user_id in found:
                _erase(cursor, user_id, AGAIN, by(connection))
            cursor.execute("select max(erased_at) from ops.erasures")
            [[erased_at]] = cursor.fetchall()
    except psycopg2.Error as error:
        raise EraseError(f"Nothing was erased: {_said(error)}.") from None
    after, saved = _drop_sandboxes(where), _backups_before(erased_at)
    if after is None:
        return Again(len(found), (), ("Sandboxes could not be asked for: call this again.", *saved))
    return Again(len(found), after.dropped, (*after.reasons(), *saved), after.of_others())


def _drop_sandboxes(where: settings.Warehouse | None) -> _Sandboxes | None:
    """Drop sandboxes, which were built from rows of before, and can be built anew; None where nobody could ask for any.

    One that somebody works in or reads stays, and its schemas are named.
    """
    try:
        with connect("greenery erasure", where) as connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("set lock_timeout = {}").format(sql.Literal(_PATIENCE)))
            connection.commit()
            dropped, stayed = [], {}
            for use in sandbox.all_of(connection):
                try:
                    sandbox.drop(connection, use.sandbox)
                    dropped.append(use.sandbox.name)
                except sandbox.SandboxError as error:
                    # What else it says is for who wants to make one.
                    stayed[use.sandbox.name] = f"{str(error).partition(' Nothing was changed.')[0]} Let that end."
                except psycopg2.Error as error:
                    if connection.closed:
                        raise
                    connection.rollback()
                    stayed[use.sandbox.name] = f"Sandbox {use.sandbox.name} could not be dropped: {_said(error)}."
            return _Sandboxes(tuple(dropped), stayed, places.schemas_of_others(cursor))
    except psycopg2.Error as error:
        log.warning("Sandboxes were not dropped: %s.", _said(error))
        return None


def _backups_before(erased_at: datetime | None) -> tuple[str, ...]:
    """The backups that are kept here from before the last erasure, in a sentence; nothing where there are none."""
    folder = settings.backup_folder()
    if folder is None or erased_at is None:
        return ()
    # A backup is named by the second.
    before = [path.name for path in backups.paths(folder) if backups.named_at(path) <= erased_at]
    if not before:
        return ()
    return (
        f"Backups from before the last erasure, in {folder}: {', '.join(before)}. Save a new one and delete these.",
    )


def _be_alone(cursor: Cursor) -> None:
    """Until the transaction ends no load, run or decision begins; raises EraseError while one is under way."""
    cursor.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(_PATIENCE)))
    lease.lock_raw(cursor)
    if held := lease.held(cursor):
        raise EraseError(
            f"{held.holder} is under way since {held.taken_at:%d %b %H:%M} UTC; nothing was erased. Erase again when "
            f"it has ended, or after {held.until:%d %b %H:%M} UTC if it died."
        )
    cursor.execute("select exists (select from ops.publications)")
    if cursor.fetchone()[0] and not personal.columns(cursor):
        raise EraseError(
            "Which columns of the marts are personal is noted with each publish, and none has noted it so far; nothing "
            "was erased. Trigger greenery_daily, then erase again."
        )
    if found := trust.code_of_others(cursor, places.read_or_written(cursor)):
        raise EraseError(
            f"An erasure would run somebody else's code: {found}. Nothing was erased. Mend that, then erase again."
        )


def _erase(cursor: Cursor, user_id: str, reason: str, by: str) -> Certificate:
    tables = places.all_of_them(cursor)
    person = persons.find(cursor, user_id, tables)
    _check_the_shop_lets_go(cursor, user_id)
    if not person.rows:
        return _certificate_of_before(cursor, user_id)
    cursor.execute(
        "insert into ops.erasures (erased_by, reason, changed) values (%s, 'under way', '{}')"
        " returning erasure_id, erased_at",
        (by,),
    )
    erasure_id, erased_at = cursor.fetchone()
    known = stand_in.of(cursor, person, erasure_id)
    changed: Counter[str] = Counter()
    for place in tables:
        if rows := _empty(cursor, place, user_id, known):
            changed[place.called] = rows
    stand_in.put_into_raw(cursor, user_id, known, erasure_id)
    if rows := _forget_deletions(cursor, user_id, known):
        changed[raw.called("deletions")] = rows
    changed.update(_forget_moved_rows(cursor, user_id, known))
    _leave_what_others_have(cursor, person, tables)
    refreshed = places.refresh_what_is_materialized(cursor)
    about = texts.About(person)
    changed.update(texts.take_out(cursor, about))
    cursor.execute("update ops.buffers set scan = true")  # the next tests look at all rows
    for called in (*changed, *refreshed):
        cursor.execute(sql.SQL("analyze {}").format(sql.Identifier(*called.split(".", 1))))  # which samples values
    _look(cursor, about, tables)
    reason = about.without(reason)
    cursor.execute(
        "update ops.erasures set changed = %s, reason = %s where erasure_id = %s", (Json(changed), reason, erasure_id)
    )
    told = stand_in.as_told(cursor, known.user)
    not_ours = places.schemas_of_others(cursor)
    return Certificate(erasure_id, erased_at, by, reason, changed, not_ours, told, stand_in.key_id(cursor))


def _check_the_shop_lets_go(cursor: Cursor, user_id: str) -> None:
    """Raise EraseError where a raw table is a view of the shop's own that shows the person."""
    for place in places.shown_from_elsewhere(cursor):
        cursor.execute(sql.SQL("select exists (select from {} where user_id = %s)").format(place.named), (user_id,))
        if cursor.fetchone()[0]:
            raise EraseError(
                f"{place.called} is a view of the shop's own table, which still has the person; nothing was erased. "
                "Delete the person there, or give those rows another user, then erase again."
            )


def _certificate_of_before(cursor: Cursor, user_id: str) -> Certificate:
    """That of the erasure of a person of whom nothing is left: who asked may have been killed before having it.

    Raises EraseError where there was none, or it was long ago.
    """
    before = stand_in.erased_before(cursor, user_id)
    if before is None:
        raise EraseError(
            "No user has this id: neither raw nor the snapshots nor the marts hold a row of it. Nothing was erased. "
            f"Is it in full, as {raw.called('users')}.user_id has it?"
        )
    erasure_id, user = before
    cursor.execute(
        "select erased_at, now() - erased_at, erased_by, reason, changed from ops.erasures where erasure_id = %s",
        (erasure_id,),
    )
    erased_at, ago, by, reason, changed = cursor.fetchone()
    said = (
        f"This person was erased at {erased_at:%d %b %Y %H:%M} UTC (certificate {erasure_id}); nothing has come back."
    )
    if ago > _GIVEN_AGAIN:
        raise EraseError(said)
    log.warning("%s", said)
    not_ours, told = places.schemas_of_others(cursor), stand_in.as_told(cursor, user)
    return Certificate(erasure_id, erased_at, by, reason, changed, not_ours, told, stand_in.key_id(cursor))


def _empty(cursor: Cursor, place: Place, user_id: str, known: StandIns) -> int:
    """Take the person out of a place, whose rows stay; returns how many were changed."""
    if place.users:
        return _replace(cursor, place, place.users, user_id, known.user, known.addresses)
    # What others live at as well is theirs.
    moved = {key: to for key, to in known.addresses.items() if key not in known.shared}
    return sum(_replace(cursor, place, place.addresses, key, to, {}) for key, to in moved.items())


def _replace(
    cursor: Cursor, place: Place, keys: tuple[str, ...], before: str, after: str, addresses: dict[str, str]
) -> int:
    """In the rows that hold a key: put another in its place, empty what is personal, and replace addresses."""
    new_key = "replace('/' || {0} || '/', %(before)s, %(after)s)"
    assigned = [
        sql.SQL(f"{{0}} = substr({new_key}, 2, length({new_key}) - 2)").format(sql.Identifier(name)) for name in keys
    ]
    assigned += [sql.SQL("{} = null").format(sql.Identifier(name)) for name in place.values]
    assigned += [
        sql.SQL("{0} = coalesce(%(addresses)s::jsonb ->> {0}, {0})").format(sql.Identifier(name))
        for name in place.addresses
        if addresses
    ]
    cursor.execute(
        sql.SQL("update {} set {} where {}").format(
            place.named, sql.SQL(", ").join(assigned), places.holds(keys, "before")
        ),
        {"before": f"/{before}/", "after": f"/{after}/", "addresses": Json(addresses)},
    )
    return cursor.rowcount


def _forget_deletions(cursor: Cursor, user_id: str, known: StandIns) -> int:
    """Take the person's keys out of the list of what left raw."""
    if not raw.exists(cursor, "deletions") or "deletions" in raw.views(cursor):
        return 0
    moved = {("users", user_id): known.user}
    moved |= {("addresses", key): to for key, to in known.addresses.items() if key not in known.shared}
    changed = 0
    for (table, key), to in moved.items():
        cursor.execute(
            sql.SQL("update {} set key = %s where table_name = %s and key = %s").format(raw.named("deletions")),
            (to, table, key),
        )
        changed += cursor.rowcount
    if changed:  # else they would look as if they had come after the runs that followed them (`buffers.begin`)
        cursor.execute("update ops.watermarks set source = source where source = 'deletions'")
    return changed


def _forget_moved_rows(cursor: Cursor, user_id: str, known: StandIns) -> dict[str, int]:
    """Take the person's keys out of what was kept of rows behind a figure that moved; returns rows by table."""
    marks = personal.columns(cursor)
    of_users, of_addresses = ([name for name, of in marks.items() if of == key] for key in ("user_id", "address_id"))
    moved = [(of_users, user_id, known.user)]
    moved += [(of_addresses, key, to) for key, to in known.addresses.items() if key not in known.shared]
    changed = Counter()
    for schema in (schema for schema in places.OPS if exists(cursor, f"{schema}.moved_rows")):
        for columns, before, after in moved:
            cursor.execute(
                sql.SQL(
                    "update {} set key = trim('/' from replace('/' || key || '/', %(before)s, %(after)s))"
                    " where key_column = any(%(columns)s) and strpos('/' || key || '/', %(before)s) > 0"
                ).format(sql.Identifier(schema, "moved_rows")),
                {"columns": columns, "before": f"/{before}/", "after": f"/{after}/"},
            )
            if cursor.rowcount:
                changed[f"{schema}.moved_rows"] += cursor.rowcount
    return dict(changed)


def _leave_what_others_have(cursor: Cursor, person: Person, tables: list[Place]) -> None:
    """A value that is in a row of somebody else's by now tells of nobody alone: it is not looked for in texts."""
    for place in tables:
        for column in set(place.values) & {*persons.TELLING}:
            mine = {value for name in persons.TELLING for value in person.values.get(name, ())}
            cursor.execute(
                sql.SQL("select distinct {0}::text from {1} where {0}::text = any(%s)").format(
                    sql.Identifier(column), place.named
                ),
                (list(mine),),
            )
            for (value,) in cursor.fetchall():
                for name in persons.TELLING:
                    person.values.get(name, set()).discard(value)


def _look(cursor: Cursor, about: texts.About, treated: list[Place]) -> None:
    """Raise EraseError where a column of our schemas that nobody marked still names the person.

    Numbers and times are no texts. The texts of `ops` were gone through one by one.
    """
    marked = {place.called: [*place.users, *place.addresses, *place.values] for place in treated}
    cursor.execute(
        """
        select nspname, relname, array_agg(attname::text order by attnum)
        from pg_class
        join pg_namespace as spaces on spaces.oid = relnamespace
        join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
        join pg_type on pg_type.oid = atttypid
        where nspname = any(%s) and relkind in ('r', 'm') and typcategory <> all('{B,D,N,T}')
        group by nspname, relname
        order by nspname, relname
        """,
        (list(places.schemas()),),
    )
    for schema, name, columns in cursor.fetchall():
        left = [column for column in columns if column not in marked.get(f"{schema}.{name}", ())]
        if not left:
            continue
        conditions = [about.told_in(sql.SQL("{}::text").format(sql.Identifier(column))) for column in left]
        cursor.execute(
            sql.SQL("select {} from {}").format(
                sql.SQL(", ").join(sql.SQL("bool_or({})").format(condition) for condition in conditions),
                sql.Identifier(schema, name),
            )
        )
        if found := [column for column, there in zip(left, cursor.fetchone(), strict=True) if there]:
            raise EraseError(
                f"{schema}.{name} would still name the person, in {', '.join(found)}; nothing was erased. Mark the "
                "column in the dbt project (meta: {personal: true}, or personal: user_id for a key), let a run "
                "publish, then erase again."
            )


def _said(error: psycopg2.Error) -> str:
    """What the database said, without the detail: it may quote a row."""
    return (error.diag.message_primary or "the warehouse can't be reached").rstrip(".")
