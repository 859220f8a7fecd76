"""What takes the place of a personal value, as SQL: equal values get equal ones, in every table of a copy.

A value is hashed with a key that Postgres makes for one transaction. Nobody reads that key, and it ends with the
transaction, so that the same value is another one in the next copy.
"""

from __future__ import annotations

from enum import StrEnum

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

# Two random numbers of Postgres' own, 72 characters. It never leaves the server, where a log of statements has the
# words of this one and not its result.
_MAKE_KEY = (
    "select set_config('greenery.mask_key', gen_random_uuid()::text || gen_random_uuid()::text, true) is not null"
)
_HASH = "{function}(convert_to(current_setting('greenery.mask_key') || {value}, 'UTF8'))"
_IS_UUID = "{value} ~ '^[0-9a-fA-F]{{8}}(-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}$'"
_KEY = """
    case
        when {value} = '' then ''
        when {is_uuid} then encode(substr({hash}, 1, 16), 'hex')::uuid::text
        else encode(substr({hash}, 1, 16), 'hex')
    end
"""
_DELETED_KEY = f"case when table_name in ('users', 'addresses') then ({_KEY}) else {{value}} end"
# Nobody gets mail at example.com. Letters are those that any zip code may have at any place, and no digit is 0, with
# which some zip codes may not begin.
_VALUE = """
    case
        when {value} = '' then ''
        when {value} ~ '^[^@\\s]+@[^@\\s]+[.][^@\\s.]+$'
            then 'user-' || left(encode({hash}, 'hex'), 20) || '@example.com'
        when {value} ~ '^([A-Za-z][A-Za-z0-9+.-]*:)?/' then 'https://example.com/' || left(encode({hash}, 'hex'), 20)
        when {is_uuid} then encode(substr({hash}, 1, 16), 'hex')::uuid::text
        when {value} ~ '[0-9]' then (
            select
                string_agg(
                    case
                        when letter between '0' and '9' then substr('123456789', 1 + byte % 9, 1)
                        when letter between 'A' and 'Z' then substr('ABCEGHJKLMNPRSTVXY', 1 + byte % 18, 1)
                        when letter between 'a' and 'z' or letter > '~'
                            then substr('abceghjklmnprstvxy', 1 + byte % 18, 1)
                        else letter
                    end,
                    '' order by place
                )
            from
                (select {long_hash} as hash) as hashed,
                regexp_split_to_table({value} collate "C", '') with ordinality as letters (letter, place),
                get_byte(hash, (place::integer - 1) % 64) as byte
        )
        else (
            select
                initcap(
                    string_agg(
                        substr('bdfghklmnprstvwz', 1 + byte % 16, 1) || substr('aeio', 1 + byte / 16 % 4, 1),
                        '' order by place
                    )
                )
            from
                (select {hash} as hash) as hashed,
                generate_series(0, 5) as place,
                get_byte(hash, place) as byte
        )
    end
"""


class Rule(StrEnum):
    """How a column is replaced; the words are those of the copy's contents."""

    KEY = "key: a hash, a uuid where it was one"
    VALUE = "value: an e-mail address, a url, a made-up name, or other letters and digits in the same places"
    DELETED_KEY = "key of a deleted row: as `key` where the row was a person's"
    EMPTIED = "emptied: neither text nor a uuid"
    LOADER = "where it was loaded from is not said"


_SQL = {
    Rule.KEY: _KEY,
    Rule.VALUE: _VALUE,
    Rule.DELETED_KEY: _DELETED_KEY,
    Rule.EMPTIED: "null",
    Rule.LOADER: "'a masked copy'",
}


def make_key(cursor: Cursor) -> None:
    """Make the key of this transaction. What `replaced` writes works in no other."""
    cursor.execute(_MAKE_KEY)


def replaced(column: str, kind: str, rule: Rule) -> sql.Composable:
    """The SQL of what takes a column's place; `kind` is its type. Null stays null, and '' stays ''."""
    value = sql.SQL("{}::text").format(sql.Identifier(column))
    made_up = sql.SQL(_SQL[rule]).format(
        value=value,
        is_uuid=sql.SQL(_IS_UUID).format(value=value),
        hash=sql.SQL(_HASH).format(function=sql.SQL("sha256"), value=value),
        long_hash=sql.SQL(_HASH).format(function=sql.SQL("sha512"), value=value),
    )
    return sql.SQL("({})::{}").format(made_up, sql.SQL(kind))
