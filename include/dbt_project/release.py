"""Releases: copies of the dbt project, each parsed once, so that every task finds the parse that it would make.

`<state>/dbt/releases/<stamp>/` holds the project's files with `target/manifest.json` and
`target/partial_parse.msgpack`; the link `<state>/dbt/current` names the newest one that parsed. A project that changes
gets a new release beside the old one; a project that doesn't parse changes nothing but `problem.json`, so the daily DAG
keeps the last good release.

The stamp hashes what dbt's own partial parse depends on: the project's files, the profile's values, the values of the
environment that the project asks for, and dbt's version.

One file of a copy differs from the project's: `macros/daily/macros_hash.sql` holds a hash over all macros and
variables, and over what is read as raw (`include/raw/mapping.py`), and asks for the same values of the environment.
dbt itself leaves these out of the checksums of the models that use them.

    python -m include.dbt_project.release

makes one, for an image or before Airflow starts.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import yaml

from include import settings
from include.dbt_project import limits, manifest
from include.raw import mapping

PROFILE = "greenery"
TARGET = "warehouse"
# Runs that are under way read their release's files, so old ones stay for a while.
KEPT = 5
KEPT_SECONDS = 2 * 24 * 3600
_PROFILES = "profiles.yml"
# `env_var('NAME')`; a name that is put together is not found, nor followed. dbt shows secrets to no model.
_ASKED = re.compile(r"""env_var\(\s*['"](?!DBT_ENV_SECRET)(\w+)['"]""")
_IGNORED = {".cosmos", ".git", "__pycache__", ".user.yml"}


class ProjectError(RuntimeError):
    """The dbt project can't be used and there is no earlier release; the message has file and reason."""


@dataclass(frozen=True)
class Release:
    """A dbt project that parsed, with its parse."""

    path: Path

    @property
    def stamp(self) -> str:
        """What names this release: a hash of everything that its parse depends on."""
        return self.path.name

    @property
    def manifest(self) -> Path:
        """dbt's manifest.json."""
        return self.path / "target" / "manifest.json"


@dataclass(frozen=True)
class Problem:
    """Why the project as it is now is not the current release: dbt's message for the given stamp."""

    stamp: str
    message: str


def current() -> Release | None:
    """The newest release that parsed; None before the first."""
    link = _home() / "current"
    return Release(link.resolve()) if link.exists() else None


def named(stamp: str) -> Release:
    """The release of a stamp. Raises ProjectError where it is not kept any more."""
    release = Release(_home() / "releases" / stamp)
    if not release.manifest.exists():
        raise ProjectError(
            f"release {stamp} of the dbt project is gone; trigger a new run instead of clearing this one"
        )
    return release


def problem() -> Problem | None:
    """What dbt said of the newest state of the project, if it did not parse."""
    try:
        return Problem(**json.loads((_home() / "problem.json").read_text()))
    except FileNotFoundError:
        return None


def refresh() -> Release:
    """Make the project as it is now the current release, if it is not so yet and parses; return the current one.

    A few milliseconds where nothing changed, some seconds of `dbt parse` otherwise. Safe to call from several processes
    at once: one parses, the others wait for it. Raises ProjectError where nothing ever parsed.
    """
    latest = current()
    try:
        now = stamp(settings.dbt_source_dir())
    except OSError:
        if latest:  # a file went while it was read; the next look finds the project at rest
            return latest
        raise
    if latest and latest.stamp == now and problem() is None:
        return latest
    with _lock():
        latest, failed = current(), problem()
        if not (failed and failed.stamp == now):
            failed = _build(now, latest)
        made = current()
        if made is None:
            raise ProjectError(failed.message if failed else "the dbt project changed while it was read; try again")
        return made


def stamp(source: Path) -> str:
    """The hash that names a project folder as it is now, in this environment."""
    where = settings.warehouse()
    digest = hashlib.blake2b(digest_size=8)
    for part in (version("dbt-core"), version("dbt-postgres"), where.host, str(where.port), where.database, where.user):
        digest.update(part.encode() + b"\0")
    for name, value in environment(source).items():
        digest.update(f"{name}={value}".encode() + b"\0")
    return _hash_files(digest, source, _files(source))


def environment(project: Path) -> dict[str, str | None]:
    """What a project folder asks of the environment, but for where the warehouse is, and its values here; by name."""
    files = (path for path in _files(project) if path.suffix in (".sql", ".yml", ".yaml") and path.name != _PROFILES)
    names = {name for path in files for name in _ASKED.findall(path.read_text(errors="replace"))}
    return {name: os.environ.get(name) for name in sorted(names)}


def write_macros_hash(project: Path) -> None:
    """Let a copy of the project know its macros, its variables, and what it asks of the environment, by one text.

    Where it changes, models are built in full.
    """
    usual = project / "macros" / "daily" / "macros_hash.sql"
    file = next((path for path in _files(project) if path.name == usual.name), usual)
    file.unlink(missing_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    others = (project / "dbt_project.yml", project / mapping.FILE)
    packages = (path for path in _files(project / "dbt_packages") if path.suffix == ".sql")
    files = (*_files(file.parent.parent), *packages, *(other for other in others if other.exists()))
    digest = _hash_files(hashlib.blake2b(version("dbt-postgres").encode(), digest_size=8), project, files)
    parts = [f"'{digest}'", *(f"'{name}', env_var('{name}', '')" for name in environment(project))]
    file.write_text(f"{{% macro macros_hash() %}}{{{{ return([{', '.join(parts)}] | join(' ')) }}}}{{% endmacro %}}\n")


def _hash_files(digest: hashlib.blake2b, root: Path, files: Iterable[Path]) -> str:
    """The digest, as text, after the names below `root` and the contents of some files."""
    for path in files:
        digest.update(str(path.relative_to(root)).encode() + b"\0")
        digest.update(hashlib.blake2b(path.read_bytes()).digest())
    return digest.hexdigest()


def _build(new: str, latest: Release | None) -> Problem | None:
    """Copy and parse the project as release `new`; None when it became current, else what was wrong."""
    home = _home()
    final, work = home / "releases" / new, home / "releases" / f".{new}"
    if not Release(final).manifest.exists():  # it does where the project went back to what it was
        shutil.rmtree(work, ignore_errors=True)
        _copy(settings.dbt_source_dir(), work)
        if stamp(work) != new:
            shutil.rmtree(work)
            return None  # somebody is writing to it; the next look finds it at rest
        write_macros_hash(work)
        if latest and (old := latest.path / "target" / "partial_parse.msgpack").exists():
            (work / "target").mkdir()
            shutil.copy2(old, work / "target")
        if message := _parse(work) or limits.problem(manifest.read(Release(work).manifest)):
            shutil.rmtree(work)
            failed = Problem(new, message)
            _replace(home / "problem.json", json.dumps(asdict(failed)))
            return failed
        shutil.rmtree(final, ignore_errors=True)
        work.rename(final)
    _point_current_at(final)
    (home / "problem.json").unlink(missing_ok=True)
    # A run may have just begun with either, however long ago it was parsed.
    for used in {final, latest.path if latest else final}:
        os.utime(used)
    for old in sorted((home / "releases").iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        if old != final and old.stat().st_mtime < time.time() - KEPT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    return None


def _copy(source: Path, target: Path) -> None:
    for path in _files(source):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)


def _parse(project: Path) -> str | None:
    """Parse the project in its own folder; None when all is well, else what dbt says."""
    done = subprocess.run(
        # Cosmos passes these flags to every task; a parse without them is thrown away by each (dbt compares them).
        [
            *(sys.executable, "-m", "dbt.cli.main", "--quiet", "--no-use-colors", "parse"),
            *("--project-dir", project, "--profiles-dir", project, "--profile", PROFILE, "--target", TARGET),
            *("--no-static-parser", "--target-path", project / "target", "--log-path", project / "logs"),
        ],
        cwd=project,
        env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "False"},
        capture_output=True,
        text=True,
    )
    said = done.stdout.strip() or done.stderr.strip()
    return said.replace(str(project), "dbt") if done.returncode else None


def _point_current_at(release: Path) -> None:
    link = _home() / ".current"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("releases") / release.name)
    link.rename(_home() / "current")


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}")
    draft.write_text(text)
    draft.rename(path)


def _files(source: Path) -> Iterator[Path]:
    # `dbt deps` links a local package into dbt_packages.
    for folder, folders, names in os.walk(source, followlinks=True):
        here = Path(folder).resolve()
        inner = set(folders) - _IGNORED - (_written(Path(folder)) if "dbt_project.yml" in names else set())
        folders[:] = sorted(name for name in inner if not here.is_relative_to((Path(folder) / name).resolve()))
        paths = (Path(folder) / name for name in sorted(names) if name not in _IGNORED)
        # An editor's lock file is a link to nowhere.
        yield from (path for path in paths if path.is_file())


def _written(project: Path) -> set[str]:
    """The folders that dbt writes beside a dbt_project.yml, a package's included."""
    try:
        said = yaml.safe_load((project / "dbt_project.yml").read_text())
    except yaml.YAMLError:  # which dbt will say better
        said = None
    paths = {key: said.get(key) for key in ("target-path", "log-path")} if isinstance(said, dict) else {}
    return {"target", "logs", *(path for path in paths.values() if isinstance(path, str))}


def _home() -> Path:
    return settings.state_dir() / "dbt"


@contextmanager
def _lock() -> Iterator[None]:
    (_home() / "releases").mkdir(parents=True, exist_ok=True)
    with (_home() / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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
