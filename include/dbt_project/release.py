"""Greenery's releases of the dbt project (`include.fast_cosmos.releases`): where they are, and what makes a new one.

They are kept in `<state>/dbt`. One file of a copy differs from the project's: `macros/daily/macros_hash.sql` holds a
hash over all macros and variables, those of packages among them, and over what is read as raw
(`include/raw/mapping.py`), and asks for the same values of the environment. dbt itself leaves these out of the
checksums of the models that use them.

    python -m include.dbt_project.release

makes one, for an image or before Airflow starts.
"""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from psycopg2.extensions import connection as Connection

from include import settings
from include.dbt_project import archive, limits, manifest
from include.fast_cosmos.releases import Problem, ProjectError, Release, Releases, environment, files, hash_files
from include.raw import mapping

PROFILE = "greenery"
TARGET = "warehouse"
# Where dbt's own macros are, besides dbt-core: `{{ dbt.datediff(…) }}` comes from these.
_ADAPTERS = ("dbt-adapters", "dbt-postgres")
PACKAGES = ("dbt-core", *_ADAPTERS)
# What holds variables, of a project or a package.
VARIABLES = ("dbt_project.yml", "vars.yml")
_MACRO = re.compile(rb"\{%-?\s*(macro|materialization)\b")


def releases() -> Releases:
    """Of the project that the environment names, for the warehouse that it names."""
    where = settings.warehouse()
    tls = ", ".join(f"{name} {value}" for name, value in asdict(where.tls).items() if value)
    return Releases(
        source=settings.dbt_source_dir(),
        home=settings.state_dir() / "dbt",
        profile=PROFILE,
        target=TARGET,
        packages=PACKAGES,
        depends_on=(where.host, str(where.port), where.database, where.user, tls),
        prepare=write_macros_hash,
        refuse=lambda release: limits.problem(manifest.read(release.manifest)),
    )


def current() -> Release | None:
    """The newest release that parsed; None before the first."""
    return releases().current()


def named(stamp: str) -> Release:
    """The release of a stamp, if it is kept on this machine. Raises ProjectError where it is not."""
    return releases().named(stamp)


def of_run(connection: Connection, stamp: str) -> Release:
    """The release that a run began with, on whatever machine. Raises ProjectError where it is not kept any more."""
    return releases().named(stamp, lambda missing: archive.find(connection, missing))


def check(of: Release) -> None:
    """Raise ProjectError where a run can't go on with a release here: it was changed, or made with other versions."""
    releases().check(of)


def problem() -> Problem | None:
    """What dbt, or `limits`, said of the newest state of the project, if it can't be used."""
    return releases().problem()


def refresh() -> Release:
    """Make the project as it is now the current release, if it is not so yet and can be used; return the current one.

    Raises ProjectError where none ever could.
    """
    return releases().refresh()


def write_macros_hash(project: Path) -> None:
    """Let a copy of the project know its macros, its variables, and what it asks of the environment, by one text.

    Where it changes, models are built in full.
    """
    usual = project / "macros" / "daily" / "macros_hash.sql"
    file = next((path for path in files(project) if path.name == usual.name), usual)
    file.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    # Wherever they lie: `macro-paths` may name any folder, and so may a package.
    read = (
        path
        for path in files(project)
        if path.name in VARIABLES
        or path == project / mapping.FILE
        or (path.suffix == ".sql" and _MACRO.search(path.read_bytes()))
    )
    versions = " ".join(map(version, _ADAPTERS))
    digest = hash_files(hashlib.blake2b(versions.encode(), digest_size=8), project, read)
    parts = [f"'{digest}'", *(f"'{name}', env_var('{name}', '')" for name in environment(project))]
    file.write_text(f"{{% macro macros_hash() %}}{{{{ return([{', '.join(parts)}] | join(' ')) }}}}{{% endmacro %}}\n")


def main() -> int:
    """The command: makes the project as it is now the current release; 1 where it can't be used, and says why."""
    try:
        made = refresh()
    except ProjectError as error:
        print(error, file=sys.stderr)
        return 1
    if failed := problem():
        print(f"The dbt project can't be used:\n{failed.message}", file=sys.stderr)
        return 1
    print(f"Release {made.stamp} of the dbt project is current")
    return 0


if __name__ == "__main__":
    sys.exit(main())
