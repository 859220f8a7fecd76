"""A state of the dbt project, parsed: that of a commit, or the folder as it is."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import yaml

from include import settings
from include.dbt_project import limits, manifest, release
from include.dbt_project.manifest import Manifest
from include.fast_cosmos import scratch
from include.fast_cosmos.releases import ProjectError, Release, Releases
from include.preview import kept
from include.warehouse.relation import Relation
from include.warehouse.sandbox import BRANCH, PREVIEW, Sandbox, name_of

_PACKAGES = "dbt_packages"


class VersionError(RuntimeError):
    """A state of the project can't be had or used; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Version:
    """A state of the project, parsed for a sandbox. `label` is what people call it, `commit` a short hash.

    `facts` is the part of dbt's manifest that the daily run asks about, `whole` all of manifest.json. `commit` is ""
    for a folder as it is. `files` is what the daily run would call a release of the same files.
    """

    label: str
    commit: str
    release: Release
    facts: Manifest
    whole: Mapping[str, Any]
    files: str = ""


def was(sandbox: Sandbox) -> Sandbox:
    """Where the base of a preview is built, where it has to be: beside the sandbox of the change."""
    return Sandbox(name_of(PREVIEW, f"{sandbox.name.removeprefix(PREVIEW)} was"))


def is_of(sandbox: Sandbox, schema: str) -> bool:
    """Whether dbt makes a schema for a sandbox."""
    return schema == sandbox.marts or schema.startswith(f"{sandbox.marts}_")


def of_release(label: str, commit: str, made: Release, files: str = "") -> Version:
    """The version that a release is."""
    whole = json.loads(made.manifest.read_bytes())
    return Version(label, commit, made, manifest.of(whole), whole, files)


def built_as(facts: Manifest, unique_id: str) -> Relation:
    """Where dbt builds what a node of a version makes."""
    node = facts.nodes[unique_id]
    return Relation(node["schema"], node["alias"])


def published_as(facts: Manifest, unique_id: str, sandbox: Sandbox) -> Relation:
    """Where people find what a node of a version of a sandbox makes."""
    built = built_as(facts, unique_id)
    schema = _production(built.schema, sandbox)
    return Relation(settings.LIVE if schema == settings.BUILT else schema, built.name)


def both(ref: str, sandbox: Sandbox) -> tuple[Version, Version]:
    """The project at a commit, for `was(sandbox)`, and as it is in its folder; side by side, since a parse takes long.

    Raises VersionError.
    """
    with ThreadPoolExecutor(1) as beside:
        old = beside.submit(of_commit, ref, was(sandbox))
        new = of_folder(sandbox)
        return old.result(), new


def of_folder(sandbox: Sandbox) -> Version:
    """The project as it is in its folder. Raises VersionError where it can't be used."""
    return _parsed("your folder", "", settings.dbt_source_dir(), sandbox)


def of_commit(ref: str, sandbox: Sandbox) -> Version:
    """The project at a commit, a branch or a tag. Raises VersionError where there is none, or it can't be used."""
    folder = settings.dbt_source_dir()
    try:
        commit = _git("rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}").decode().strip()
    except subprocess.CalledProcessError as error:
        raise VersionError(
            f"{ref} is no commit, branch or tag that git knows in {folder} ({_said(error)}), so there is nothing to "
            "compare with, and nothing was built. Fetch it, or name another one as BASE."
        ) from error
    with scratch.folder() as source:
        try:  # in a folder git archives what is below it alone
            archived = _git("archive", "--format=zip", commit, ".")
        except subprocess.CalledProcessError as error:
            raise VersionError(
                f"The project in {folder} is not in {ref} ({_said(error)}), so there is nothing to compare with, and "
                "nothing was built. Name a commit as BASE that has it."
            ) from error
        with ZipFile(BytesIO(archived)) as archive:
            archive.extractall(source)  # no name leads out of it
        if (folder / _PACKAGES).exists() and not (source / _PACKAGES).exists():  # `dbt deps` makes it, git has it not
            shutil.copytree(folder / _PACKAGES, source / _PACKAGES)
        return _parsed(ref, commit[:7], source, sandbox)


def _git(*command: str) -> bytes:
    try:
        return subprocess.run(
            ["git", "-C", settings.dbt_source_dir(), *command], capture_output=True, check=True
        ).stdout
    except FileNotFoundError:
        raise VersionError(
            "There is no git here, which knows the project as it was, so nothing was built. Install git."
        ) from None


def _said(error: subprocess.CalledProcessError) -> str:
    return error.stderr.decode(errors="replace").strip()


def _parsed(label: str, commit: str, source: Path, sandbox: Sandbox) -> Version:
    """Parsed in a folder of the sandbox's own; what is as it was in the parse before is taken from that."""
    profiles = _profiles(sandbox)
    versions = Releases(
        source=source,
        home=kept.home(sandbox),
        profile=release.PROFILE,
        target=release.TARGET,
        packages=release.PACKAGES,
        depends_on=(profiles,),
        prepare=partial(_prepare, profiles, sandbox.name.startswith(BRANCH)),
    )
    try:
        made, failed = versions.refresh(), versions.problem()
    except ProjectError as error:
        raise _unusable(label, str(error)) from error
    if failed:
        raise _unusable(label, failed.message)
    files = release.releases().stamp_of(source)
    if versions.stamp_of(source) != made.stamp:
        raise VersionError(f"The files of {label} changed while they were read, and nothing was built. Try again.")
    version = of_release(label, commit, made, files)
    if problem := _problem(sandbox, version.facts):
        raise _unusable(label, problem)
    return version


def _unusable(label: str, why: str) -> VersionError:
    return VersionError(f"The dbt project of {label} can't be used, and nothing was built:\n{why}")


def _profiles(sandbox: Sandbox) -> str:
    """A profiles.yml that builds in a sandbox, as who may write there alone. JSON is YAML, and quotes what it must."""
    where = settings.warehouse_developer()
    output = {
        "type": "postgres",
        "host": where.host,
        "port": where.port,
        "dbname": where.database,
        "user": where.user,
        # A file is no place for it.
        "password": "{{ env_var('WAREHOUSE_DEVELOPER_PASSWORD', '') }}",
        **asdict(where.tls),
        "schema": sandbox.marts,
        "threads": 4,
        "connect_timeout": 10,
    }
    return json.dumps({release.PROFILE: {"target": release.TARGET, "outputs": {release.TARGET: output}}}, indent=2)


def _prepare(profiles: str, is_branch: bool, project: Path) -> None:
    release.write_macros_hash(project)
    (project / "profiles.yml").write_text(profiles)
    if not is_branch:
        _spare_the_log(project)


def _spare_the_log(project: Path) -> None:
    """Let tables of a preview be unlogged: they are gone when it ends, and a crash of the server ends it too."""
    file = project / "dbt_project.yml"
    said = yaml.safe_load(file.read_text())
    said["models"] = {"+unlogged": True} | (said.get("models") or {})
    file.write_text(yaml.safe_dump(said, sort_keys=False))


def _problem(sandbox: Sandbox, facts: Manifest) -> str | None:
    """Why a project can't be built in a sandbox, or could not be run by the daily run; None where it can."""
    strays = [
        f"{node['original_file_path']}: {node['name']} would be built in schema {node['schema']}, which is not the "
        "sandbox's. Let `generate_schema_name` begin its name with `target.schema` where that is not analytics_next "
        "(dbt/macros/daily/generate_schema_name.sql)."
        for unique_id, node in facts.nodes.items()
        if unique_id in facts.models | facts.snapshots.keys() and not is_of(sandbox, node["schema"])
    ]
    return "\n".join(strays) or limits.problem(_as_in_production(facts, sandbox))


def _as_in_production(facts: Manifest, sandbox: Sandbox) -> Manifest:
    """The same with the schemas that the daily run builds in."""
    nodes = {one: {**node, "schema": _production(node["schema"], sandbox)} for one, node in facts.nodes.items()}
    return replace(facts, nodes=nodes)


def _production(schema: str, sandbox: Sandbox) -> str:
    return settings.BUILT if schema == sandbox.marts else schema.removeprefix(f"{sandbox.marts}_")
