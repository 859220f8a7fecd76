"""Stand-ins: who takes the place of an erased person in raw, so that no later load brings the person back.

The shop may go on to deliver an erased user, with every load. `ops.stand_ins` knows the ids of erased users and
addresses by a keyed hash alone. Each load replaces them in the rows that it brings, before it compares these with raw,
and adds the row of each stand-in, whether or not the shop still has the person. See `include.erase`.
"""

from __future__ import annotations

from collections.abc import Collection

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include import raw
from include.raw.contract import PERSONS, Table
from include.warehouse import exists, personal

# The hash of an id, as SQL. Without the key nobody can try ids of a list until it is met.
HASH = "encode(sha256((select key from ops.erasure_key) || convert_to({id}, 'UTF8')), 'hex')"

# Who is erased of those whom the rows name: the id, the stand-in, whether others live at that address, whose it is.
_KNOWN = """
    select ids.id, stand_ins.stand_in, stand_ins.shared, stand_ins.of_user
    from (select distinct {key} as id from {rows} where {key} is not null) as ids
    join ops.stand_ins on table_name = {persons} and hash = {hash}
"""
_REPLACE_USER = "update {rows} as changed set {emptied} user_id = known.stand_in from known where user_id = known.id"
_REPLACE_ADDRESS = """
    update {rows} as changed set address_id = known.stand_in
    from known
    where address_id = known.id and (not known.shared and {nobodys} or user_id = known.of_user)
"""
_ADD = """
    insert into {rows} ({columns})
    select {columns}
    from (
        select (jsonb_populate_record(null::{raw}, content - {hidden}::text[])).*
        from ops.stand_ins
        where table_name = {persons} and content is not null
    ) as stand_ins
    where {key} not in (select {key} from {rows} where {key} is not null)
"""


def any_known(cursor: Cursor) -> bool:
    """Whether anybody was ever erased here."""
    if not exists(cursor, "ops.stand_ins"):
        return False
    cursor.execute("select exists (select from ops.stand_ins)")
    return cursor.fetchone()[0]


def personal_in(cursor: Cursor, table: Table) -> list[str]:
    """What tells of a person in a raw table, but for keys: by the contract, and by what the published project marks."""
    marked = {*table.personal, *personal.values(cursor)} - {*PERSONS.values()}
    return [name for name in table.columns if name in marked]


def take_their_places(cursor: Cursor, table: Table, rows: sql.Composable, columns: Collection[str]) -> None:
    """Let stand-ins take the places of erased people in rows that a load brings, before anybody compares them.

    `rows` is a table with some `columns` of the raw one, its key among them. Doing it twice changes nothing.
    """
    if not {*PERSONS.values()} & {*columns} or not any_known(cursor):
        return
    parts = {"rows": rows, "raw": raw.named(table.name), "columns": sql.SQL(", ").join(map(sql.Identifier, columns))}
    hidden = personal_in(cursor, table)
    if table.name in PERSONS:
        _replace_rows(cursor, table.name, parts | {"hidden": sql.Literal(hidden)})
    elif "user_id" in columns:
        emptied = [sql.SQL("{} = null,").format(sql.Identifier(name)) for name in hidden]
        _with_known(cursor, "users", _REPLACE_USER, parts | {"emptied": sql.SQL(" ").join(emptied)})
    if table.name != "addresses" and {"user_id", "address_id"} <= {*columns}:
        # An address of which each erased person has a stand-in of their own is theirs first.
        for nobodys in ("false", "true"):
            _with_known(cursor, "addresses", _REPLACE_ADDRESS, parts | {"nobodys": sql.SQL(nobodys)})


def _replace_rows(cursor: Cursor, persons: str, parts: dict[str, sql.Composable]) -> None:
    """Take erased users, or addresses, out of rows of them, and put in the rows of their stand-ins."""
    _with_known(cursor, persons, "delete from {rows} using known where {key} = known.id and not known.shared", parts)
    cursor.execute(sql.SQL(_ADD).format(persons=sql.Literal(persons), key=sql.Identifier(PERSONS[persons]), **parts))


def _with_known(cursor: Cursor, persons: str, statement: str, parts: dict[str, sql.Composable]) -> None:
    key = sql.Identifier(PERSONS[persons])
    cursor.execute(
        sql.SQL(f"with known as ({_KNOWN}) {statement}").format(
            **parts, key=key, persons=sql.Literal(persons), hash=sql.SQL(HASH).format(id=sql.SQL("ids.id"))
        )
    )
