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
from include.erase.places import KEPT_ASIDE

ERASED = "[erased]"
SCHEMAS = ("ops", f"ops{KEPT_ASIDE}")
# What holds no text about anybody, or is about who was erased by hash alone.
_NO_TEXTS = ("stand_ins", "erasure_key", "personal_columns", "alembic_version")
# Samples of rows: one that has a value of the person goes as a whole.
_SAMPLES = "failing_rows"
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
        """A text, or JSON that holds texts, without the person."""
        if isinstance(content, str):
            return self._without(content)
        if isinstance(content, list):
            return [self.without(one) for one in content]
        if isinstance(content, dict):
            return {self.without(key): self.without(value) for key, value in content.items()}
        return content

    def samples_without(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Samples of rows, but for those that have a value of the person."""
        values = self._person.everything()
        return [self.without(row) for row in rows if values.isdisjoint(map(str, row.values()))]

    def found_in(self, column: sql.Composable) -> sql.Composable:
        """The condition that a text in the database names the person, by first and last name together as well."""
        conditions = [self.told_in(column)]
        for pair in self._names:
            both = [_matches(column, [name]) for name in pair]
            conditions.append(sql.SQL("({} and {})").format(*both))
        return sql.SQL("({})").format(sql.SQL(" or ").join(conditions))

    def told_in(self, column: sql.Composable) -> sql.Composable:
        """The condition that it holds a value that is nobody else's."""
        return _matches(column, self._telling) if self._telling else sql.SQL("false")

    def sampled_in(self, column: sql.Composable) -> sql.Composable:
        """The condition that samples of rows may have a value of the person."""
        return _matches(column, [f'"{_in_json(value)}"' for value in sorted(self._person.everything())], whole=False)

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
    """Take a person out of all texts of `ops`; returns how many rows were changed, by table."""
    cursor.execute(
        """
        select
            nspname, relname,
            array_agg(attname::text order by attnum), array_agg(atttypid::regtype::text order by attnum)
        from pg_class
        join pg_namespace as spaces on spaces.oid = relnamespace
        join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped and attgenerated = ''
        where nspname = any(%s) and relkind = 'r' and relname <> all(%s)
            and atttypid = any(array['text', 'varchar', 'json', 'jsonb', 'text[]']::regtype[])
        group by nspname, relname
        order by nspname, relname
        """,
        (list(SCHEMAS), list(_NO_TEXTS)),
    )
    changed = {}
    for schema, name, columns, types in cursor.fetchall():
        rows = _take_out_of(cursor, about, sql.Identifier(schema, name), dict(zip(columns, types, strict=True)))
        if rows:
            changed[f"{schema}.{name}"] = rows
    return changed


def _take_out_of(cursor: Cursor, about: About, table: sql.Identifier, types: dict[str, str]) -> int:
    conditions = [about.found_in(_as_text(name, kind)) for name, kind in types.items()]
    if _SAMPLES in types:
        conditions.append(about.sampled_in(_as_text(_SAMPLES, types[_SAMPLES])))
    columns = sql.SQL(", ").join(map(sql.Identifier, types))
    cursor.execute(
        sql.SQL("select ctid, {} from {} where {} for update").format(columns, table, sql.SQL(" or ").join(conditions))
    )
    assigned = sql.SQL(", ").join(
        sql.SQL("{} = %s::{}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in types.items()
    )
    changed = 0
    for place, *found in cursor.fetchall():
        row = dict(zip(types, found, strict=True))
        left = {
            name: about.samples_without(value) if name == _SAMPLES else about.without(value)
            for name, value in row.items()
        }
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


def _matches(text: sql.Composable, values: Iterable[str], *, whole: bool = True) -> sql.Composable:
    forms = sorted({form for value in values for form in (value, _in_json(value) if whole else value)})
    return sql.SQL("{} ~* {}").format(text, sql.Literal(_pattern(forms, _IN_POSTGRES if whole else ("", ""))))


def _pattern(values: Iterable[str], between: tuple[str, str]) -> str:
    escaped = [re.sub(r"([^\w])", r"\\\1", value) for value in values]
    return f"{between[0]}(?:{'|'.join(escaped)}){between[1]}"


def _in_json(value: str) -> str:
    """A value as JSON has it between its quotes, in Postgres as in Python."""
    return json.dumps(value, ensure_ascii=False)[1:-1]


def _for_slack(value: str) -> str:
    return escape(value, quote=False)
