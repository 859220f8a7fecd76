"""What a change of the dbt project would do to the data, the tests and tomorrow's message, before it is merged.

python -m include.preview main

compares the project's folder with a commit. The report goes to stdout. The exit code is 0 where it is green or yellow,
1 where it is red, and 2 where no preview could be made.
"""

from __future__ import annotations

import argparse
import getpass
import signal
import sys
from pathlib import Path

import psycopg2

from include import settings
from include.fast_cosmos.releases import ProjectError
from include.preview import render
from include.preview.build import BuildError
from include.preview.preview import DAYS, make
from include.preview.progress import Lines, Progress
from include.preview.report import Verdict, to_json
from include.preview.version import VersionError
from include.warehouse import connect
from include.warehouse.sandbox import SandboxError

_JSON, _MARKDOWN = "report.json", "report.md"


def main(arguments: list[str] | None = None, progress: Progress | None = None) -> int:
    """Make a preview and print it; the exit code."""
    parser = argparse.ArgumentParser(
        prog="make preview", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", nargs="?", default="main", help="the commit, branch or tag to compare with (main)")
    parser.add_argument("--name", default=getpass.getuser(), help="whose preview it is; one of a name at a time")
    parser.add_argument("--days", type=int, default=DAYS, help=f"days of figures to compare ({DAYS})")
    parser.add_argument("--out", type=Path, help="a folder for report.json and report.md, as a pull request shows it")
    options = parser.parse_args(arguments)
    if options.out:  # one of before would pass for this one where none can be made
        for name in (_JSON, _MARKDOWN):
            (options.out / name).unlink(missing_ok=True)
    try:
        with connect("greenery preview", settings.warehouse_developer()) as connection:
            report = make(connection, options.base, options.name, progress or Lines(), days=options.days)
    except (VersionError, BuildError, SandboxError, ProjectError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except (OSError, psycopg2.Error) as error:
        print(f"No preview could be made: {error}", file=sys.stderr)
        return 2
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / _JSON).write_text(to_json(report))
        (options.out / _MARKDOWN).write_text(render.markdown(report))
    print(render.text(report))
    return 1 if report.verdict is Verdict.RED else 0


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # whoever ends it: its sandboxes go
    sys.exit(main())
