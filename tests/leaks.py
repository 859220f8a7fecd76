"""Where the value of a secret stands that should stand nowhere: in files, in all tables of a database, in texts."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from psycopg2.extensions import connection as Connection

# By what it is, its value.
Secrets = Mapping[str, str]
# A token of Airflow's own (a task has one), whatever it says: two parts of JSON in base64.
_TOKEN = re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.")
# Fewer characters would be found by chance.
SHORTEST = 8


def forms(secret: str) -> set[str]:
    """How a secret may be written: as it is, in an address, and as base64, wherever in it the value begins."""
    told = {secret, quote(secret, safe="")}
    for before in range(3):
        # Of the first and the last letters other bytes are a part.
        encoded = b64encode(b"x" * before + secret.encode()).decode().rstrip("=")
        told.add(encoded[(0, 2, 3)[before] : -1])
    return told


def in_text(secrets: Secrets, text: str | bytes) -> list[str]:
    """Which secrets a text holds, by what they are."""
    assert all(len(secret) >= SHORTEST for secret in secrets.values()), "too short to be looked for"
    content = text.encode() if isinstance(text, str) else text
    found = [what for what, secret in secrets.items() if any(form.encode() in content for form in forms(secret))]
    return found + ["a token"] * bool(_TOKEN.search(content))


def in_files(secrets: Secrets, folder: Path, *, but: Iterable[Path] = ()) -> list[str]:
    """The same of all files below a folder, with the file; `but` are files and folders that are left out."""
    left_out = tuple(but)
    return [
        f"{file.relative_to(folder)}: {what}"
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(file.is_relative_to(one) for one in left_out)
        for what in in_text(secrets, file.read_bytes())
    ]


def in_database(secrets: Secrets, connection: Connection) -> list[str]:
    """The same of all rows of each table, with the table."""
    found = []
    with connection.cursor() as cursor:
        cursor.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables"
            " where schemaname <> all('{pg_catalog, information_schema}') order by 1"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(f"select t::text from {table} as t")
            rows = "\n".join(row for (row,) in cursor.fetchall())
            found += [f"{table}: {what}" for what in in_text(secrets, rows)]
    return found
