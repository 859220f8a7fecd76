"""The check of the snapshots: one that went missing, lost rows or is compared otherwise stops the run.

dbt would create a missing snapshot anew without a word, and its history would be gone; with other `check_cols` every
row would look changed on the day of the change. `ops.snapshots` remembers how each was when a run last wrote it.

    python -m include.daily.snapshots accept --reason "restored from the backup of the 3rd"
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include.command_line import log_to_stderr
from include.dbt_project.manifest import Manifest
from include.results import publications
from include.results.publications import Decision
from include.slack.decision import tell, unheard
from include.warehouse import connect
from include.warehouse.login import at_a_shell

# What decides when a row counts as changed.
_CONFIG = ("strategy", "unique_key", "check_cols", "updated_at", "hard_deletes")
_WAY_OUT = (
    "Nothing was written. Restore the table from a backup or undo the change; or, to go on from what is there now: "
    "python -m include.daily.snapshots accept --reason WHY"
)


def problem(manifest: Manifest) -> str | None:
    """What is wrong with the snapshots, in one sentence and the way out; None where they are as a run left them."""
    with connect("greenery history") as connection, connection.cursor() as cursor:
        cursor.execute("select name, rows, config from ops.snapshots")
        remembered = {name: (rows, config) for name, rows, config in cursor.fetchall()}
        for node in manifest.snapshots.values():
            if node["name"] in remembered and (found := _problem(cursor, node, *remembered[node["name"]])):
                return f"{found} {_WAY_OUT}"
    return None


def remember(manifest: Manifest, run_id: str) -> None:
    """Note how the snapshots are, right after a run has written to them; of one that is not there, nothing."""
    with connect("greenery history") as connection, connection.cursor() as cursor:
        for node in manifest.snapshots.values():
            if (rows := _rows(cursor, node)) is None:
                continue
            cursor.execute(
                """
                insert into ops.snapshots as held (name, rows, config, run_id) values (%s, %s, %s, %s)
                on conflict (name) do update set
                    rows = excluded.rows, config = excluded.config, run_id = excluded.run_id,
                    seen_at = clock_timestamp()
                """,
                (node["name"], rows, json.dumps(_config(node)), run_id),
            )


def accept(reason: str, *, name: str = "") -> Decision:
    """Forget how the snapshots were: the next run takes them as they are then, and looks at all of them. Slack is told.

    Whoever is at this shell decides; `name` is what they typed. Raises ValueError without a reason.
    """
    with connect("greenery history") as connection, connection.cursor() as cursor:
        login = at_a_shell(connection)
        decision = publications.decide(connection, publications.ACCEPT_HISTORY, None, login, reason, name=name)
        cursor.execute("delete from ops.snapshots")
        cursor.execute("update ops.buffers set scan = true")
    tell(decision)
    return decision


def _problem(cursor: Cursor, node: dict[str, Any], rows: int, config: dict[str, Any]) -> str | None:
    table = f"{node['schema']}.{node['alias']}"
    found = _rows(cursor, node)
    if found is None:
        return f"{table} is missing, though a run has written {rows:,} rows of history to it."
    if found < rows:
        return f"{table} holds {found:,} rows of history, fewer than the {rows:,} that a run left in it."
    if changed := [name for name in _CONFIG if config.get(name) != _config(node)[name]]:
        told = ", ".join(f"{name} was {config.get(name)} and is {_config(node)[name]}" for name in changed)
        return f"{table} would be compared otherwise than before ({told}), so rows would look changed that are not."
    return None


def _rows(cursor: Cursor, node: dict[str, Any]) -> int | None:
    cursor.execute(
        "select from pg_class where relnamespace = to_regnamespace(quote_ident(%s)) and relname = %s",
        (node["schema"], node["alias"]),
    )
    if not cursor.rowcount:
        return None
    cursor.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(node["schema"], node["alias"])))
    return cursor.fetchone()[0]


def _config(node: dict[str, Any]) -> dict[str, Any]:
    return {name: node["config"].get(name) for name in _CONFIG}


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 where the decision was kept."""
    parser = argparse.ArgumentParser(
        prog="python -m include.daily.snapshots",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("accept", help="take the snapshots as they are now")
    command.add_argument("--by", default="", metavar="NAME", help="what to call you beside your login")
    command.add_argument("--reason", required=True, help="why")
    options = parser.parse_args(arguments)
    try:
        decision = accept(options.reason, name=options.by)
    except ValueError as refusal:
        print(refusal, file=sys.stderr)
        return 1
    print("Accepted: the next run takes the snapshots as they are.")
    if waits := unheard(decision):
        print(waits, file=sys.stderr)
    return 0


if __name__ == "__main__":
    log_to_stderr()
    sys.exit(main())
