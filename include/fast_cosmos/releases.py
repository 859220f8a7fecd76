"""Releases: copies of a dbt project, each parsed once, so that every task finds the parse that it would make.

`<home>/releases/<stamp>/` holds the project's files with `target/manifest.json` and `target/partial_parse.msgpack`; the
link `<home>/current` names the newest one that parsed. A project that changes gets a new release beside the old one; a
project that doesn't parse changes nothing but `problem.json`, so the last good release stays in use.

The stamp hashes what dbt's own partial parse depends on: the project's files, the values of the environment that the
project asks for, dbt's version, and what else `depends_on` names.

A release is sealed when it is made, and its seal looked at before it is run (`seal`). A machine that lacks one unpacks
what `pack` made of it elsewhere.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import yaml

from . import seal

# Runs that are under way read their release's files, so old ones stay for a while.
KEPT = 5
KEPT_SECONDS = 2 * 24 * 3600
# What a release is parsed and loaded with. A seed of more than a megabyte dbt would know by its path alone, and nothing
# would notice other rows in it.
PARSED_WITH = ("--no-static-parser", "--maximum-seed-size-mib", "0")
_PROFILES = "profiles.yml"
# `env_var('NAME')`; a name that is put together is not found, nor followed. dbt shows secrets to no model.
_ASKED = re.compile(r"""env_var\(\s*['"](?!DBT_ENV_SECRET)(\w+)['"]""")
# The one in C where there is one: it takes a sixth of the time.
_Yaml = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_IGNORED = {".cosmos", ".git", "__pycache__", ".user.yml"}


class ProjectError(RuntimeError):
    """The dbt project, or a release of it, can't be used; the message has the reason and what to do."""


@dataclass(frozen=True)
class Release:
    """A dbt project that parsed, with its parse, and the profile and target that it was parsed with."""

    path: Path
    profile: str
    target: str

    @property
    def stamp(self) -> str:
        """What names this release: a hash of everything that its parse depends on."""
        return self.path.name

    @property
    def manifest(self) -> Path:
        """dbt's manifest.json."""
        return self.path / "target" / "manifest.json"

    @property
    def is_whole(self) -> bool:
        """Whether it is there, to its last file."""
        return (self.path / seal.FILE).exists()

    @property
    def partial_parse(self) -> Path | None:
        """What the next parse can go on from; None where there is nothing, or that would lose a test.

        dbt switches off a test that reads a model which is gone, and a parse that goes on from there loses it for good,
        even where the model is back.
        """
        file = self.manifest.with_name("partial_parse.msgpack")
        if not (file.exists() and self.manifest.exists()):
            return None
        nodes = json.loads(self.manifest.read_bytes())["nodes"].values()
        return file if all(node["config"].get("enabled", True) for node in nodes) else None


@dataclass(frozen=True)
class Problem:
    """Why the project as it is now is not the current release: dbt's message for the given stamp."""

    stamp: str
    message: str


def _nothing(_: Path) -> None:
    """Leave a copy as it is."""


def _nowhere(_: str) -> bytes | None:
    """No release is kept elsewhere."""


@dataclass(frozen=True)
class Releases:
    """The releases of the dbt project in `source`, which are kept in `home`.

    A parse depends on the versions of `packages`, the adapter's among them, and on other values, `depends_on`: those
    of `profiles.yml`, which dbt compares. `prepare` may change a copy before it is parsed. `refuse` says of one that
    parsed why it can't be used after all; None where it can.
    """

    source: Path
    home: Path
    profile: str
    target: str
    packages: tuple[str, ...] = ("dbt-core",)
    depends_on: tuple[str, ...] = ()
    prepare: Callable[[Path], None] = _nothing
    refuse: Callable[[Release], str | None] = lambda _: None

    def current(self) -> Release | None:
        """The newest release that parsed; None before the first."""
        link = self.home / "current"
        return self._release(link.resolve()) if link.exists() else None

    def named(self, stamp: str, elsewhere: Callable[[str], bytes | None] = _nowhere) -> Release:
        """The release of a stamp, if need be as `elsewhere` has it packed. Raises ProjectError where nobody has it."""
        if (made := self._release(self.home / "releases" / stamp)).is_whole:
            return made
        if (unpacked := self._release(_of_this_user() / stamp)).is_whole:
            _refuse_strangers(unpacked.path.parent)
            return unpacked
        if Path(stamp).name == stamp and (packed := elsewhere(stamp)):
            return self._unpack(stamp, packed)
        raise ProjectError(
            f"release {stamp} of the dbt project is gone; trigger a new run instead of clearing this one"
        )

    def check(self, release: Release) -> None:
        """Raise ProjectError where a run can't go on with a release: it was changed, or made with other versions."""
        verify(release)
        sealed = seal.read(release.path)
        made_with = sealed.made_with if sealed else []
        if other := [one for one in made_with if one not in self.made_with]:
            here = [one for one in self.made_with if one not in made_with]
            raise ProjectError(
                f"release {release.stamp} of the dbt project was made with {', '.join(other)}, and here is "
                f"{', '.join(here)}: its parse does not hold here. Nothing was run from it; trigger a new run."
            )

    def problem(self) -> Problem | None:
        """What dbt said of the newest state of the project, if it did not parse."""
        try:
            return Problem(**json.loads((self.home / "problem.json").read_text()))
        except FileNotFoundError:
            return None

    def refresh(self) -> Release:
        """Make the project as it is now the current release, if it is not so yet and parses; return the current one.

        A few milliseconds where nothing changed, some seconds of `dbt parse` otherwise. Safe to call from several
        processes at once: one parses, the others wait for it. Raises ProjectError where nothing ever parsed.
        """
        latest = self.current()
        try:
            now = self.stamp_of(self.source)
        except OSError:
            if latest:  # a file went while it was read; the next look finds the project at rest
                return latest
            raise
        if latest and latest.stamp == now and latest.is_whole and self.problem() is None:
            return latest
        with self._lock():
            latest, failed = self.current(), self.problem()
            if not (failed and failed.stamp == now):
                failed = self._build(now, latest)
            made = self.current()
            if made is None:
                raise ProjectError(failed.message if failed else "the dbt project changed while it was read; try again")
            return made

    def stamp_of(self, source: Path) -> str:
        """The hash that names a project folder as it is now, in this environment."""
        digest = hashlib.blake2b(digest_size=8)
        for part in (*self.made_with, *self.depends_on):
            digest.update(part.encode() + b"\0")
        for name, value in environment(source).items():
            digest.update(f"{name}={value}".encode() + b"\0")
        return hash_files(digest, source, files(source))

    @property
    def made_with(self) -> tuple[str, ...]:
        """The versions with which a release would be made here."""
        return tuple(f"{name} {version(name)}" for name in self.packages)

    def _build(self, new: str, latest: Release | None) -> Problem | None:
        """Copy and parse the project as release `new`; None when it became current, else what was wrong."""
        home = self.home
        final, work = home / "releases" / new, home / "releases" / f".{new}"
        if not self._release(final).is_whole:  # it is where the project went back to what it was
            shutil.rmtree(work, ignore_errors=True)
            _copy(self.source, work)
            if self.stamp_of(work) != new:
                shutil.rmtree(work)
                return None  # somebody is writing to it; the next look finds it at rest
            self.prepare(work)
            if latest and (old := latest.partial_parse):
                (work / "target").mkdir()
                shutil.copy2(old, work / "target")
            if message := self._parse(work) or self.refuse(self._release(work)):
                shutil.rmtree(work)
                failed = Problem(new, message)
                _replace(home / "problem.json", json.dumps(asdict(failed)))
                return failed
            seal.seal(work, new, self.made_with)
            shutil.rmtree(final, ignore_errors=True)
            work.rename(final)
        self._point_current_at(final)
        (home / "problem.json").unlink(missing_ok=True)
        # A run may have just begun with either, however long ago it was parsed.
        for used in {final, latest.path if latest else final}:
            os.utime(used)
        for old in sorted((home / "releases").iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            if old != final and old.stat().st_mtime < time.time() - KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        return None

    def _parse(self, project: Path) -> str | None:
        """Parse the project in its own folder; None when all is well, else what dbt says."""
        done = subprocess.run(
            # Cosmos passes these flags to every task; a parse without them is thrown away by each (dbt compares them).
            [
                *(sys.executable, "-m", "dbt.cli.main", "--quiet", "--no-use-colors", "parse"),
                *("--project-dir", project, "--profiles-dir", project),
                *("--profile", self.profile, "--target", self.target),
                *(*PARSED_WITH, "--target-path", project / "target", "--log-path", project / "logs"),
            ],
            cwd=project,
            env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "False"},
            capture_output=True,
            text=True,
        )
        said = done.stdout.strip() or done.stderr.strip()
        return said.replace(str(project), "dbt") if done.returncode else None

    def _point_current_at(self, release: Path) -> None:
        link = self.home / ".current"
        link.unlink(missing_ok=True)
        link.symlink_to(Path("releases") / release.name)
        link.rename(self.home / "current")

    def _unpack(self, stamp: str, packed: bytes) -> Release:
        """A release from what `pack` made of it, beside the others; in a folder of this user's where they can't be."""
        beside = self.home / "releases"
        if not os.access(
            next(path for path in (beside, *beside.parents) if path.exists()), os.W_OK, effective_ids=True
        ):
            beside = _of_this_user()
            beside.mkdir(mode=0o700, exist_ok=True)
            _refuse_strangers(beside)
        beside.mkdir(parents=True, exist_ok=True)
        final = self._release(beside / stamp)
        with tempfile.TemporaryDirectory(prefix=f".{stamp}.", dir=beside) as folder:
            work = self._release(Path(folder) / stamp)
            seal.unpack(packed, work.path)
            sealed = seal.read(work.path)
            if sealed is None or sealed.stamp != stamp or seal.changed(work.path):
                raise ProjectError(f"what is kept as release {stamp} of the dbt project is not it; trigger a new run")
            if not final.is_whole:
                shutil.rmtree(final.path, ignore_errors=True)
                with suppress(OSError):  # another task was faster
                    work.path.rename(final.path)
        return final

    def _release(self, path: Path) -> Release:
        return Release(path, self.profile, self.target)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            (self.home / "releases").mkdir(parents=True, exist_ok=True)
            file = (self.home / "lock").open("w")
        except OSError as error:
            raise ProjectError(
                f"the dbt project as it is here is not released, and {self.home} can't be written: {error.strerror}. "
                "Release it where that folder can be written, or mount it so; nothing was changed."
            ) from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def pack(release: Release) -> bytes:
    """A release as one file, for `Releases.named` on another machine. Raises ProjectError where it was changed."""
    verify(release)
    return seal.pack(release.path)


def verify(release: Release) -> None:
    """Raise ProjectError where a release is not as it was made; about a millisecond where it was verified before."""
    if changed := seal.changed(release.path):
        raise ProjectError(
            f"release {release.stamp} of the dbt project was changed after it was made ({', '.join(changed[:3])}), so "
            f"nothing was run from it. Find out who did that and delete {release.path}: the project is then released "
            "again, and a run that goes on with an older release gets its own copy."
        )


def _of_this_user() -> Path:
    """Where this user's processes unpack releases, where they may not write beside the others."""
    return Path(tempfile.gettempdir()) / f"dbt-releases-{os.geteuid()}"


def _refuse_strangers(folder: Path) -> None:
    how = folder.lstat()
    if not stat.S_ISDIR(how.st_mode) or how.st_uid != os.geteuid() or how.st_mode & 0o022:
        raise ProjectError(f"{folder} is not this user's alone, so no release is run from there; delete it")


def environment(project: Path) -> dict[str, str | None]:
    """What a project folder asks of the environment, but for its `profiles.yml`, and its values here; by name."""
    asking = (path for path in files(project) if path.suffix in (".sql", ".yml", ".yaml") and path.name != _PROFILES)
    names = {name for path in asking for name in _ASKED.findall(path.read_text(errors="replace"))}
    return {name: os.environ.get(name) for name in sorted(names)}


def files(source: Path) -> Iterator[Path]:
    """The files of a project folder, without what dbt writes there."""
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
        said = yaml.load((project / "dbt_project.yml").read_text(), _Yaml)  # noqa: S506 - a safe one
    except yaml.YAMLError:  # which dbt will say better
        said = None
    paths = {key: said.get(key) for key in ("target-path", "log-path")} if isinstance(said, dict) else {}
    return {"target", "logs", *(path for path in paths.values() if isinstance(path, str))}


def hash_files(digest: hashlib.blake2b, root: Path, files: Iterable[Path]) -> str:
    """The digest, as text, after the names below `root` and the contents of some files."""
    for path in files:
        digest.update(str(path.relative_to(root)).encode() + b"\0")
        digest.update(hashlib.blake2b(path.read_bytes()).digest())
    return digest.hexdigest()


def _copy(source: Path, target: Path) -> None:
    for path in files(source):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}")
    draft.write_text(text)
    draft.rename(path)
