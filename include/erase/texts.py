"""Texts about a person in `ops`: messages, results, samples of failing rows, notes and reasons of people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from html import escape
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from include.erase.person import Person
from include.erase.places import OPS
from include.warehouse import exists

ERASED = "[erased]"
# The columns that people or runs write sentences into. The others are keys, states and signatures: a street may be
# called like one of them.
PROSE = {
    "answers": ("reason", "name_given", "item"),
    "code": ("sql",),
    "compiled_sql": ("sql",),
    "decisions": ("reason", "name_given"),
    "erasures": ("reason",),
    "explanations": ("explanation",),
    "messages": ("headline", "body", "blocks", "problem"),
    "moves": ("parts",),
    "node_results": ("message", "failing_rows"),
    "proofs": ("result",),
    "publications": ("notes",),
}
# Samples of rows: one that has a value of the person goes as a whole.
_SAMPLES = "failing_rows"
# Rows about a value that a column has: where it names the person, they go as a whole, since it is a part of their keys.
_ABOUT_A_VALUE = {"moved_rows": "key", "observations": "item", "unusual": "item || coalesce(because ->> 'item', '')"}
# A value is a word of its own. Python and Postgres have their own words for what is no part of one.
_IN_PYTHON, _IN_POSTGRES = (r"(?<![^\W_])", r"(?![^\W_])"), ("(?<![[:alnum:]])", "(?![[:alnum:]])")


class About:
    """Finds and takes out what is about a person."""

    def __init__(self, person: Person) -> None:
        self._person = person
        # As Slack takes it, too.
        self._telling = sorted({form for value in person.telling() for form in (value, _for_slack(value))})
        self._names = person.names()

    def without(self, content: Any) -> Any:
        """A text, or JSON that holds texts, without the person; what JSON calls its values by stays."""
        if isinstance(content, str):
            return self._without(content)
        if isinstance(content, list):
            return [self.without(one) for one in content]
        if isinstance(content, dict):
            return {key: self.without(value) for key, value in content.items()}
        return content

    def blocks_without(self, content: Any) -> Any:
        """Blocks of a message for Slack, which still takes them."""
        if isinstance(content, list):
            return [self.blocks_without(one) for one in content]
        if isinstance(content, dict):
            return {key: value if key == "type" else self.blocks_without(value) for key, value in content.items()}
        return self.without(content)

    def samples_without(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Samples of rows, but for those that have a value of the person."""
        values = self._person.everything()
        return [self.without(row) for row in rows if values.isdisjoint(map(str, row.values()))]

    def may_be_in(self, column: sql.Composable) -> sql.Composable:
        """The condition that a text in the database may name the person: as a part of a word, too.

        It is far cheaper than to look for words.
        """
        pairs = [sql.SQL("({} and {})").format(*(_holds(column, [name]) for name in pair)) for pair in self._names]
        return sql.SQL("({})").format(sql.SQL(" or ").join([_holds(column, self._telling), *pairs]))

    def told_in(self, column: sql.Composable) -> sql.Composable:
        """The condition that it holds a value that is nobody else's."""
        if not self._telling:
            return sql.SQL("false")
        pattern = sql.Literal(_pattern(_forms(self._telling), _IN_POSTGRES))
        return sql.SQL("case when {} then {} ~* {} else false end").format(
            _holds(column, self._telling), column, pattern
        )

    def sampled_in(self, column: sql.Composable) -> sql.Composable:
        """The condition that samples of rows may have a value of the person."""
        return _holds(column, {f'"{_in_json(value)}"' for value in self._person.everything()})

    def _without(self, text: str) -> str:
        words = list(self._telling)
        for pair in self._names:
            if all(re.search(_pattern([name], _IN_PYTHON), text, re.IGNORECASE) for name in pair):
                words += [" ".join(pair), *pair]
        if not words:
            return text
        longest_first = sorted(words, key=len, reverse=True)
        return re.sub(_pattern(longest_first, _IN_PYTHON), ERASED, text, flags=re.IGNORECASE)


def take_out(cursor: Cursor, about: About) -> dict[str, int]:
    """Take a person out of what was written in `ops`; returns how many rows were changed, by table."""
    cursor.execute(
        """
        select
            nspname, relname,
            array_agg(attname::text order by attnum), array_agg(atttypid::regtype::text order by attnum)
        from pg_class
        join pg_namespace as spaces on spaces.oid = relnamespace
        join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
        join unnest(%s::text[], %s::text[]) as prose (table_name, column_name)
            on table_name = relname and column_name = attname
        where nspname = any(%s) and relkind = 'r'
        group by nspname, relname
        order by nspname, relname
        """,
        (
            [table for table, columns in PROSE.items() for _ in columns],
            [column for columns in PROSE.values() for column in columns],
            list(OPS),
        ),
    )
    changed = {}
    for schema, name, columns, types in cursor.fetchall():
        rows = _take_out_of(cursor, about, sql.Identifier(schema, name), dict(zip(columns, types, strict=True)))
        if rows:
            changed[f"{schema}.{name}"] = rows
    for schema in OPS:
        for name, value in _ABOUT_A_VALUE.items():
            if exists(cursor, f"{schema}.{name}"):
                cursor.execute(
                    sql.SQL("delete from {} where {}").format(
                        sql.Identifier(schema, name), about.may_be_in(sql.SQL(f"({value})"))
                    )
                )
                if cursor.rowcount:
                    changed[f"{schema}.{name}"] = cursor.rowcount
    return changed


def _take_out_of(cursor: Cursor, about: About, table: sql.Identifier, types: dict[str, str]) -> int:
    conditions = [about.may_be_in(_as_text(name, kind)) for name, kind in types.items()]
    if _SAMPLES in types:
        conditions.append(about.sampled_in(_as_text(_SAMPLES, types[_SAMPLES])))
    columns = sql.SQL(", ").join(map(sql.Identifier, types))
    cursor.execute(
        sql.SQL("select ctid, {} from {} where {} for update").format(columns, table, sql.SQL(" or ").join(conditions))
    )
    assigned = sql.SQL(", ").join(
        sql.SQL("{} = %s::{}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in types.items()
    )
    take = {_SAMPLES: about.samples_without, "blocks": about.blocks_without}
    changed = 0
    for place, *found in cursor.fetchall():
        row = dict(zip(types, found, strict=True))
        left = {name: take.get(name, about.without)(value) for name, value in row.items()}
        if left != row:
            values = [
                Json(left[name]) if "json" in kind and left[name] is not None else left[name]
                for name, kind in types.items()
            ]
            cursor.execute(sql.SQL("update {} set {} where ctid = %s").format(table, assigned), [*values, place])
            changed += 1
    return changed


def _as_text(column: str, kind: str) -> sql.Composable:
    """A column as text in which a value stands as it is, or as JSON has it."""
    forms = {"json": "{}::jsonb::text", "text[]": "array_to_string({}, ' ')"}
    return sql.SQL(forms.get(kind, "{}::text")).format(sql.Identifier(column))


def _holds(text: sql.Composable, values: Iterable[str]) -> sql.Composable:
    """The condition that a text holds one of the values, in small letters or capital ones."""
    parts = [re.sub(r"([\\%_])", r"\\\1", form) for form in _forms(values)]
    lowered = sql.SQL(", ").join(sql.SQL("lower({})").format(sql.Literal(f"%{part}%")) for part in parts)
    return sql.SQL("lower({}) like any (array[{}]::text[])").format(text, lowered)


def _forms(values: Iterable[str]) -> list[str]:
    """Values as they are, and as JSON has them."""
    return sorted({form for value in values for form in (value, _in_json(value))})


def _pattern(values: Iterable[str], between: tuple[str, str]) -> str:
    escaped = [re.sub(r"([^\w])", r"\\\1", value) for value in values]
    return f"{between[0]}(?:{'|'.join(escaped)}){between[1]}"


def _in_json(value: str) -> str:
    """A value as JSON has it between its quotes, in Postgres as in Python."""
    return json.dumps(value, ensure_ascii=False)[1:-1]


def _for_slack(value: str) -> str:
    return escape(value, quote=False)
