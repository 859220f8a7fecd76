"""What the tests of the dbt project share: a project of one model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT

MODEL = "models/one.sql"


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
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that nothing was released of."""
    return start(tmp_path, monkeypatch)
