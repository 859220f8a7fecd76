"""The guard of history: a snapshot table that went missing, lost rows or is compared otherwise stops the run.

dbt would create a missing snapshot anew without a word, and its history would be gone; with other `check_cols` every
row would look changed on the day of the change. `ops.snapshots` remembers how each was when a run last counted or wrote
it.

    python -m include.history accept --by ada --reason "restored from the backup of the 3rd"
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include.command_line import log_to_stderr
from include.dbt_project.manifest import Manifest
from include.results import publications
from include.results.publications import Decision
from include.slack.decision import tell, unheard
from include.warehouse import connect

# What decides when a row counts as changed.
_CONFIG = ("strategy", "unique_key", "check_cols", "updated_at", "hard_deletes")
_WAY_OUT = (
    "Nothing was written. Restore the table from a backup or undo the change; or, to go on from what is there now: "
    "python -m include.history accept --by NAME --reason WHY"
)


@dataclass(frozen=True)
class _Counted:
    """How many rows a snapshot holds, and up to when they are counted: past the newest one, be it dated ahead.

    As the server writes it: it knows years that Python doesn't.
    """

    rows: int
    seen_at: str


@dataclass(frozen=True)
class _Held:
    """What `ops.snapshots` remembers of a snapshot."""

    rows: int
    seen_at: str
    config: dict[str, Any]
    run_id: str


def problem(manifest: Manifest, run_id: str, *, again: bool = False) -> str | None:
    """What is wrong with the snapshots, in one sentence and the way out; None where they are as a run left them.

    All of history is counted, which gets dear with the years. So not `again`: what this run has counted before is only
    looked at, and the next run tells of rows that went meanwhile.
    """
    with connect("greenery history") as connection, connection.cursor() as cursor:
        for node in manifest.snapshots.values():
            if (held := _held(cursor, node)) is None:
                continue
            there = _is_there(cursor, node)
            counted = _count(cursor, node) if there and not (again and held.run_id == run_id) else None
            if found := _problem(node, held, is_there=there, rows=counted.rows if counted else held.rows):
                return f"{found} {_WAY_OUT}"
            if counted:
                _note(cursor, node, counted, run_id)
    return None


def remember(manifest: Manifest, run_id: str) -> None:
    """Note how the snapshots are, right after a run has written to them; of one that is not there, nothing.

    Counted are the versions that are newer than what was counted before, where a run dates them.
    """
    with connect("greenery history") as connection, connection.cursor() as cursor:
        for node in manifest.snapshots.values():
            if not _is_there(cursor, node):
                continue
            held = _held(cursor, node)
            if held and not node["config"].get("updated_at"):
                new = _count(cursor, node, after=held.seen_at)
                _note(cursor, node, _Counted(held.rows + new.rows, new.seen_at), run_id)
            else:
                _note(cursor, node, _count(cursor, node), run_id)


def accept(decided_by: str, reason: str) -> Decision:
    """Forget how the snapshots were: the next run takes them as they are then, and looks at all of them. Slack is told.

    Raises ValueError without a name or a reason.
    """
    with connect("greenery history") as connection, connection.cursor() as cursor:
        decision = publications.decide(connection, publications.ACCEPT_HISTORY, None, decided_by, reason)
        cursor.execute("delete from ops.snapshots")
        cursor.execute("update ops.buffers set scan = true")
    tell(decision)
    return decision


def _problem(node: dict[str, Any], held: _Held, *, is_there: bool, rows: int) -> str | None:
    table = f"{node['schema']}.{node['alias']}"
    if not is_there:
        return f"{table} is missing, though a run has written {held.rows:,} rows of history to it."
    if rows < held.rows:
        return f"{table} holds {rows:,} rows of history, fewer than the {held.rows:,} that a run left in it."
    if changed := [name for name in _CONFIG if held.config.get(name) != _config(node)[name]]:
        told = ", ".join(f"{name} was {held.config.get(name)} and is {_config(node)[name]}" for name in changed)
        return f"{table} would be compared otherwise than before ({told}), so orders would look changed that are not."
    return None


def _held(cursor: Cursor, node: dict[str, Any]) -> _Held | None:
    cursor.execute("select rows, seen_at::text, config, run_id from ops.snapshots where name = %s", (node["name"],))
    known = cursor.fetchone()
    return _Held(*known) if known else None


def _note(cursor: Cursor, node: dict[str, Any], counted: _Counted, run_id: str) -> None:
    cursor.execute(
        """
        insert into ops.snapshots as held (name, rows, seen_at, config, run_id) values (%s, %s, %s, %s, %s)
        on conflict (name) do update set
            rows = excluded.rows, seen_at = excluded.seen_at, config = excluded.config, run_id = excluded.run_id
        """,
        (node["name"], counted.rows, counted.seen_at, json.dumps(_config(node)), run_id),
    )


def _is_there(cursor: Cursor, node: dict[str, Any]) -> bool:
    cursor.execute("select to_regclass(%s) is not null", (f"{node['schema']}.{node['alias']}",))
    return cursor.fetchone()[0]


def _count(cursor: Cursor, node: dict[str, Any], after: str | None = None) -> _Counted:
    """Of all rows, or of those that are valid from `after` on."""
    cursor.execute(
        sql.SQL(
            "select count(*), greatest(clock_timestamp(), max(dbt_valid_from) at time zone 'UTC')::text from {}"
            " where %(after)s::text is null or dbt_valid_from > %(after)s::timestamptz at time zone 'UTC'"
        ).format(sql.Identifier(node["schema"], node["alias"])),
        {"after": after},
    )
    return _Counted(*cursor.fetchone())


def _config(node: dict[str, Any]) -> dict[str, Any]:
    return {name: node["config"].get(name) for name in _CONFIG}


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 where the decision was kept."""
    parser = argparse.ArgumentParser(
        prog="python -m include.history", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("accept", help="take the snapshots as they are now")
    command.add_argument("--by", required=True, help="who decides")
    command.add_argument("--reason", required=True, help="why")
    options = parser.parse_args(arguments)
    try:
        decision = accept(options.by, options.reason)
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
