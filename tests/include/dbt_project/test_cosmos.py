"""A run keeps the release that it began with, and no task of it writes into another."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from psycopg2.extensions import connection as Connection

from include.dbt_project import release
from include.dbt_project.cosmos import pin
from include.settings import PROJECT_ROOT
from include.warehouse import migrate

pytestmark = pytest.mark.db


def test_a_project_that_changes_in_the_middle_of_a_run_is_for_the_next_run(
    db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "dbt"
    (source / "models").mkdir(parents=True)
    (source / "dbt_project.yml").write_text("name: greenery\nversion: 1.0.0\nprofile: greenery\n")
    shutil.copy(PROJECT_ROOT / "dbt" / "profiles.yml", source)
    (source / "models" / "one.sql").write_text("select 1 as one")
    monkeypatch.setenv("GREENERY_DBT_DIR", str(source))
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path / "state"))
    migrate.upgrade()
    old = release.refresh().path.resolve()

    first, later, other = SimpleNamespace(), SimpleNamespace(), SimpleNamespace()
    pin({"run_id": "run"}, first)
    (source / "models" / "two.sql").write_text("select 2 as two")
    new = release.refresh().path.resolve()
    pin({"run_id": "run"}, later)
    pin({"run_id": "next"}, other)

    assert [task.project_dir.resolve() for task in (first, later, other)] == [old, old, new]
    for task in (first, later, other):
        assert task.manifest_filepath.is_relative_to(task.project_dir)
        assert task.cache_dir.is_relative_to(task.project_dir)
        assert task.cache_dir / "target" != task.project_dir / "target", "Cosmos would overwrite the release's manifest"
