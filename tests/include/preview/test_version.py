"""A state of the dbt project, parsed for a sandbox: which one it is, and why one can't be used."""

from __future__ import annotations

import os
import time
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import Any

import pytest

from include import settings
from include.fast_cosmos import releases
from include.preview import version
from include.preview.version import VersionError
from include.warehouse import roles
from include.warehouse.sandbox import Sandbox
from tests.include.dbt_project.conftest import MODEL
from tests.repository import begin, git

pytestmark = pytest.mark.slow

ANA = Sandbox("preview_ana")
OWN = "{% macro generate_schema_name(name, node) %}{{ name or target.schema }}{% endmacro %}"


@pytest.fixture
def repository(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one model in a repository; its folder has another one since."""
    monkeypatch.setenv("WAREHOUSE_DEVELOPER_USER", roles.DEVELOPER)
    begin(project.parent)
    (project / MODEL).write_text("select 2 as two")
    return project


def code(of: version.Version) -> str:
    return of.facts.nodes["model.greenery.one"]["raw_code"]


def test_a_commit_and_the_folder_are_each_what_they_say(repository: Path) -> None:
    old, new = version.both("main", ANA)
    assert (code(old), code(new)) == ("select 1 as one", "select 2 as two")
    assert (old.label, len(old.commit), new.commit) == ("main", 7, "")
    assert old.whole["nodes"].keys() == old.facts.nodes.keys()


def test_each_is_parsed_for_a_sandbox_of_its_own(repository: Path) -> None:
    old, new = version.both("main", ANA)
    schemas = [of.facts.nodes["model.greenery.one"]["schema"] for of in (old, new)]
    assert schemas == [version.was(ANA).marts, "preview_ana"]
    assert version.published_as(new.facts, "model.greenery.one", ANA) == ("analytics", "one")


def test_what_nobody_has_used_for_as_long_as_sandboxes_are_kept_is_forgotten(repository: Path) -> None:
    previews = settings.state_dir() / "previews"
    for age, days in (("old", 15), ("new", 13)):
        (previews / f"branch_{age}" / "releases").mkdir(parents=True)
        (previews / f"{age}.json").touch()
        for name in (f"branch_{age}", f"{age}.json"):
            os.utime(previews / name, (time.time() - days * 86400,) * 2)
    version.of_folder(ANA)
    assert {one.name for one in previews.iterdir()} == {"branch_new", "preview_ana", "new.json"}


def test_files_that_change_while_they_are_parsed_are_told(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = releases.subprocess.run

    def run(*started: object, **how: Any) -> CompletedProcess[str]:
        (repository / MODEL).write_text("select 3 as three")
        return parse(*started, **how)

    monkeypatch.setattr(releases, "subprocess", SimpleNamespace(run=run))
    with pytest.raises(VersionError, match="The files of your folder changed while they were read"):
        version.of_folder(ANA)
    assert code(version.of_folder(ANA)) == "select 3 as three"


def test_a_password_is_in_no_file(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_DEVELOPER_PASSWORD", "tell nobody")
    made = version.of_folder(ANA).release.path
    assert [one for one in made.rglob("*") if one.is_file() and b"tell nobody" in one.read_bytes()] == []


@pytest.mark.parametrize("ref", ["nowhere", "--upload-pack=touch", ""])
def test_what_is_no_commit_is_told(repository: Path, ref: str) -> None:
    with pytest.raises(VersionError, match=f"^{ref} is no commit, branch or tag"):
        version.of_commit(ref, ANA)


def test_a_commit_without_the_project_is_told(repository: Path) -> None:
    git(repository.parent, "rm", "-rq", "--cached", ".")
    (repository.parent / "readme").write_text("")
    git(repository.parent, "add", "readme")
    git(repository.parent, "commit", "--quiet", "--message", "Gone")
    with pytest.raises(VersionError, match="is not in main"):
        version.of_commit("main", ANA)


def test_a_project_that_does_not_parse_is_told_in_dbts_words(repository: Path) -> None:
    (repository / MODEL).write_text("select {{ ref('nowhere') }}")
    with pytest.raises(VersionError, match=r"(?s)of your folder can't be used.*depends on a node named 'nowhere'"):
        version.of_folder(ANA)


def test_what_the_daily_run_would_refuse_is_refused(repository: Path) -> None:
    (repository / MODEL).write_text("{{ config(schema='ops') }} select 1 as one")
    with pytest.raises(VersionError, match="goes to schema ops"):
        version.of_folder(ANA)


def test_nothing_is_built_in_a_schema_that_is_not_the_sandboxs(repository: Path) -> None:
    (repository / "macros").mkdir()
    (repository / "macros" / "own.sql").write_text(OWN)
    (repository / MODEL).write_text("{{ config(schema='staging') }} select 1 as one")
    with pytest.raises(VersionError, match="would be built in schema staging"):
        version.of_folder(ANA)
