"""Releases: one parse a change, the last good one where the project is broken, and the parse that tasks would make."""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from include import settings
from include.dbt_project import release
from tests.include.dbt_project.conftest import MODEL, start


@pytest.fixture(scope="module")
def first_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder after the first refresh, made once: a parse takes seconds."""
    home = tmp_path_factory.mktemp("released")
    with pytest.MonkeyPatch.context() as environment:
        start(home, environment)
        release.refresh()
    return home / "state"


@pytest.fixture
def released(project: Path, first_release: Path) -> Path:
    """A project that is released as it is."""
    shutil.copytree(first_release, settings.state_dir(), symlinks=True)
    return project


def models(of: release.Release) -> set[str]:
    return {path.stem for path in (of.path / "models").glob("*.sql")}


def test_the_first_refresh_parses(project: Path) -> None:
    made = release.refresh()
    assert made.manifest.exists()
    assert release.current() == made


def test_an_unchanged_project_is_not_parsed_again(released: Path) -> None:
    made = release.refresh()
    before = made.manifest.stat().st_mtime_ns
    assert release.refresh() == made
    assert made.manifest.stat().st_mtime_ns == before


def test_a_new_model_makes_a_new_release_and_leaves_the_old_one_alone(released: Path) -> None:
    old = release.refresh()
    (released / "models/two.sql").write_text("select 2 as two")
    new = release.refresh()
    assert models(new) == {"one", "two"}
    assert models(old) == {"one"}


def test_a_release_that_a_run_may_use_is_kept_however_long_ago_it_was_parsed(released: Path) -> None:
    first = release.refresh()
    written = (released / MODEL).read_text()
    for number in range(release.KEPT):
        (released / MODEL).write_text(f"select {number} as one")
        release.refresh()
    old = time.time() - 2 * release.KEPT_SECONDS
    for one in first.path.parent.iterdir():
        os.utime(one, (old, old))
    os.utime(first.path, (old - 1, old - 1))
    (released / MODEL).write_text(written)
    assert release.refresh() == first, "a run begins now"
    (released / MODEL).write_text("select 100 as one")
    release.refresh()
    assert first.manifest.exists()


def test_a_broken_project_keeps_the_last_release_and_says_where_it_is_broken(released: Path) -> None:
    good = release.refresh()
    (released / MODEL).write_text("select {{ ref('nowhere') }}")
    assert release.refresh() == good
    problem = release.problem()
    assert problem is not None
    assert "nowhere" in problem.message
    assert MODEL in problem.message


def test_a_broken_project_is_parsed_once_and_not_at_every_look(released: Path) -> None:
    release.refresh()
    (released / MODEL).write_text("select {{")
    release.refresh()
    noted = (settings.state_dir() / "dbt" / "problem.json").stat().st_mtime_ns
    release.refresh()
    assert (settings.state_dir() / "dbt" / "problem.json").stat().st_mtime_ns == noted


def test_a_mended_project_is_released_and_the_problem_forgotten(released: Path) -> None:
    release.refresh()
    (released / MODEL).write_text("select {{")
    release.refresh()
    (released / MODEL).write_text("select 3 as one")
    release.refresh()
    assert release.problem() is None
    assert (release.current().path / MODEL).read_text() == "select 3 as one"


def test_a_project_that_goes_back_gets_its_former_release(released: Path) -> None:
    first = release.refresh()
    (released / MODEL).write_text("select 2 as one")
    assert release.refresh() != first
    (released / MODEL).write_text("select 1 as one")
    assert release.refresh() == first
    assert release.current() == first


def test_a_project_that_never_parsed_is_an_error_with_dbts_words(project: Path) -> None:
    (project / MODEL).write_text("select {{ ref('nowhere') }}")
    with pytest.raises(release.ProjectError, match="nowhere"):
        release.refresh()


def test_another_warehouse_is_another_release(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = release.stamp(project)
    monkeypatch.setenv("WAREHOUSE_PORT", "1")
    assert release.stamp(project) != before


def test_an_undone_mistake_is_forgotten(released: Path) -> None:
    good = release.refresh()
    (released / MODEL).write_text("select {{")
    release.refresh()
    (released / MODEL).write_text("select 1 as one")
    assert release.refresh() == good
    assert release.problem() is None


def test_an_editors_lock_file_is_no_part_of_the_project(project: Path) -> None:
    before = release.stamp(project)
    (project / "models" / ".#one.sql").symlink_to("nobody@nowhere")
    assert release.stamp(project) == before


def test_a_release_is_found_by_its_name_until_it_is_gone(released: Path) -> None:
    made = release.refresh()
    assert release.named(made.stamp).manifest == made.path.resolve() / "target" / "manifest.json"
    with pytest.raises(release.ProjectError, match="trigger a new run"):
        release.named("0" * 16)


def test_processes_that_start_together_parse_once(project: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = {pool.submit(release.refresh) for _ in range(4)}
    assert len({one.result() for one in made}) == 1
    assert len(list((settings.state_dir() / "dbt" / "releases").iterdir())) == 1


def test_the_command_fails_where_the_project_does_not_parse_though_a_release_is_kept(
    released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release.main() == 0
    assert release.current().stamp in capsys.readouterr().out
    (released / MODEL).write_text("select {{ ref('nowhere') }}")
    assert release.main() == 1
    assert "nowhere" in capsys.readouterr().err


def test_the_command_fails_with_dbts_words_where_nothing_ever_parsed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / MODEL).write_text("select {{ ref('nowhere') }}")
    assert release.main() == 1
    assert "nowhere" in capsys.readouterr().err
