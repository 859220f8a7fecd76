"""A copy of production's data without personal values, for previews on pull requests.

    python -m include.masked save /copies/monday
    python -m include.masked save /copies/monday --days 90
    python -m include.masked check /copies/monday
    python -m include.masked fill /copies/monday

`save` reads the warehouse that the WAREHOUSE_ variables name, as greenery_developer. `fill` brings a copy
into another one, which is empty, as its administrator.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import psycopg2

from include import settings
from include.masked import folder
from include.masked.fill import fill
from include.masked.folder import Contents
from include.masked.save import save
from include.masked.tables import MaskedError


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 where it was done, 1 where it was refused, with a sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m include.masked", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    saving = commands.add_parser("save", help="write a copy into a new folder")
    saving.add_argument("--days", type=int, help="only events and orders of the last days, and what belongs to them")
    saving.add_argument(
        "--plain", action="append", default=[], metavar="SCHEMA.TABLE.COLUMN", help="it looks personal and is not"
    )
    for command in (
        saving,
        commands.add_parser("check", help="read a copy to its end"),
        commands.add_parser("fill", help="bring a copy into a warehouse that is empty"),
    ):
        command.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    try:
        if options.command == "save":
            contents = save(
                options.folder, settings.warehouse_developer(), days=options.days, plain=options.plain, tell=_tell
            )
            print(options.folder)
        elif options.command == "check":
            contents = folder.check(options.folder)
        else:
            contents = fill(options.folder, settings.warehouse_admin(), tell=_tell)
    except (MaskedError, ValueError, OSError) as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except psycopg2.Error as error:
        print(f"Nothing was copied: {error}", file=sys.stderr)
        return 1
    print(in_words(contents), file=sys.stderr)
    return 0


def in_words(contents: Contents) -> str:
    """A copy for a person."""
    of = f"of the last {contents.days} days " if contents.days else ""
    told = f"{contents.rows:,} rows {of}in {len(contents.files)} tables, as of {contents.made_at:%d %b %Y %H:%M} UTC."
    left_out = [f"{file.table.called}.{column}" for file in contents.files for column in file.table.left_out]
    return told + (f" Left out, as nobody declared it: {', '.join(left_out)}." if left_out else "")


def _tell(table: str) -> None:
    print(f"{table} …", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
