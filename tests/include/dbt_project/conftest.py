"""What the tests of the dbt project share: a project of one model, released and broken once: a parse takes seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from include import settings
from include.dbt_project import release
from include.settings import PROJECT_ROOT
from tests.forks import Forks, fork_dbt

MODEL = "models/one.sql"
BROKEN = "select {{ ref('nowhere') }}"


def start(home: Path, environment: pytest.MonkeyPatch) -> Path:
    """A dbt project of one model in `home`, and a state folder of its own."""
    source = home / "dbt"
    (source / "models").mkdir(parents=True)
    (source / "dbt_project.yml").write_text("name: greenery\nversion: 1.0.0\nprofile: greenery\n")
    shutil.copy(PROJECT_ROOT / "dbt" / "profiles.yml", source)
    (source / MODEL).write_text("select 1 as one")
    environment.setenv("GREENERY_DBT_DIR", str(source))
    environment.setenv("GREENERY_STATE_DIR", str(home / "state"))
    return source


@pytest.fixture
def dbt_is_forked(dbts: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    """dbt parses in a fork."""
    fork_dbt(dbts, monkeypatch)


@pytest.fixture
def project(dbt_is_forked: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that nothing was released of."""
    return start(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the state of a released project, and of one that was broken then."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def released(project: Path, kept: Path) -> Path:
    """A project that is released as it is."""
    _bring(kept / "released")
    return project


@pytest.fixture
def broken(released: Path, kept: Path) -> Path:
    """A project that was released and is broken since, which was noticed."""
    (released / MODEL).write_text(BROKEN)
    _bring(kept / "broken")
    return released


def _bring(kept: Path) -> None:
    """Make the state folder what it is after a look at the project: the first time by looking, then by a copy."""
    if not kept.exists():
        release.refresh()
        shutil.copytree(settings.state_dir(), kept, symlinks=True)
    else:
        shutil.rmtree(settings.state_dir(), ignore_errors=True)
        shutil.copytree(kept, settings.state_dir(), symlinks=True)
