"""Releases: one parse a change, the last good one where the project is broken, and the parse that tasks would make."""

from __future__ import annotations

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dbt.cli.main import dbtRunner

from include import settings
from include.dbt_project import release
from include.fast_cosmos import releases, seal
from include.fast_cosmos.releases import ProjectError, Release
from tests.include.dbt_project.conftest import BROKEN, MODEL

pytestmark = pytest.mark.slow


def models(of: Release) -> set[str]:
    return {path.stem for path in (of.path / "models").glob("*.sql")}


def test_an_unchanged_project_is_not_parsed_again(released: Path) -> None:
    made = release.refresh()
    before = made.manifest.stat().st_mtime_ns
    assert release.refresh() == made
    assert made.manifest.stat().st_mtime_ns == before


def test_a_new_model_makes_a_new_release_leaves_the_old_one_alone_and_gives_way_to_it_when_it_goes(
    released: Path,
) -> None:
    old = release.refresh()
    (released / "models/two.sql").write_text("select 2 as two")
    new = release.refresh()
    assert release.current() == new
    assert models(new) == {"one", "two"}
    assert models(old) == {"one"}
    (released / "models/two.sql").unlink()
    assert release.refresh() == old
    assert release.current() == old


def parsed_before(project: Path) -> None:
    """Let the project as it is now have been released before, so that a look at it parses nothing."""
    made = release.current()
    shutil.copytree(made.path, made.path.with_name(release.releases().stamp_of(project)))


def test_a_release_that_a_run_may_use_is_kept_however_long_ago_it_was_parsed(
    released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "KEPT", 1)
    first = release.refresh()
    written = (released / MODEL).read_text()
    (released / MODEL).write_text("select 2 as one")
    parsed_before(released)
    second = release.refresh()
    assert second != first
    old = time.time() - 2 * releases.KEPT_SECONDS
    for one in first.path.parent.iterdir():
        os.utime(one, (old, old))
    os.utime(first.path, (old - 1, old - 1))
    (released / MODEL).write_text(written)
    assert release.refresh() == first, "a run begins now"
    os.utime(second.path, (old, old))
    (released / MODEL).write_text("select 100 as one")
    parsed_before(released)
    release.refresh()
    assert first.manifest.exists()
    assert not second.path.exists(), "nobody can use it any more"


def test_a_project_whose_last_release_lost_its_manifest_is_released(released: Path) -> None:
    release.refresh().manifest.unlink()
    (released / MODEL).write_text("select 2 as one")
    assert release.refresh().manifest.exists()


def test_other_rows_in_a_large_seed_make_another_node_of_it(project: Path) -> None:
    """dbt's own checksum of a seed of more than a megabyte is its path."""

    def checksum() -> str:
        return json.loads(release.refresh().manifest.read_bytes())["nodes"]["seed.greenery.zones"]["checksum"]

    seed = project / "seeds" / "zones.csv"
    seed.parent.mkdir()
    rows = "zone\n" + "berlin\n" * 160_000
    seed.write_text(rows)
    before = checksum()
    seed.write_text(rows.replace("berlin", "oslo", 1))
    assert checksum() != before


def test_a_broken_project_keeps_the_last_release_and_says_where_it_is_broken(broken: Path) -> None:
    assert release.refresh() == release.current()
    assert (release.current().path / MODEL).read_text() == "select 1 as one"
    problem = release.problem()
    assert problem is not None
    assert "nowhere" in problem.message
    assert MODEL in problem.message


def test_a_broken_project_is_parsed_once_and_not_at_every_look(broken: Path) -> None:
    noted = (settings.state_dir() / "dbt" / "problem.json").stat().st_mtime_ns
    release.refresh()
    assert (settings.state_dir() / "dbt" / "problem.json").stat().st_mtime_ns == noted


def test_a_mended_project_is_released_and_the_problem_forgotten(broken: Path) -> None:
    (broken / MODEL).write_text("select 3 as one")
    release.refresh()
    assert release.problem() is None
    assert (release.current().path / MODEL).read_text() == "select 3 as one"


def test_a_project_that_never_parsed_is_an_error_with_dbts_words_of_the_command_as_well(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / MODEL).write_text(BROKEN)
    with pytest.raises(ProjectError, match="nowhere"):
        release.refresh()
    assert release.main() == 1
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(("setting", "value"), [("WAREHOUSE_PORT", "1"), ("WAREHOUSE_SSLMODE", "verify-full")])
def test_another_way_to_the_warehouse_is_another_release(
    project: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: str
) -> None:
    before = release.releases().stamp_of(project)
    monkeypatch.setenv(setting, value)
    assert release.releases().stamp_of(project) != before


def test_an_undone_mistake_is_forgotten(broken: Path) -> None:
    good = release.current()
    (broken / MODEL).write_text("select 1 as one")
    assert release.refresh() == good
    assert release.problem() is None


def test_an_editors_lock_file_is_no_part_of_the_project(project: Path) -> None:
    before = release.releases().stamp_of(project)
    (project / "models" / ".#one.sql").symlink_to("nobody@nowhere")
    assert release.releases().stamp_of(project) == before


def test_a_release_is_found_by_its_name_until_it_is_gone(released: Path) -> None:
    made = release.refresh()
    assert release.named(made.stamp).manifest == made.path.resolve() / "target" / "manifest.json"
    with pytest.raises(ProjectError, match="trigger a new run"):
        release.named("0" * 16)


def test_processes_that_start_together_parse_once(project: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = {pool.submit(release.refresh) for _ in range(4)}
    [one] = {each.result() for each in made}
    assert one.manifest.exists()
    assert release.current() == one
    assert len(list((settings.state_dir() / "dbt" / "releases").iterdir())) == 1


def test_the_command_fails_where_the_project_does_not_parse_though_a_release_is_kept(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release.main() == 1
    assert "nowhere" in capsys.readouterr().err


def test_the_command_names_the_release_that_is_current(released: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main() == 0
    assert release.current().stamp in capsys.readouterr().out


def test_packages_that_dbt_deps_installed_are_part_of_a_release(project: Path) -> None:
    package = project / "local_packages/shared"
    (package / "macros").mkdir(parents=True)
    (package / "dbt_project.yml").write_text("name: shared\nversion: 1.0.0\n")
    (package / "macros/cents.sql").write_text("{% macro cents(dollars) %}{{ dollars }} * 100{% endmacro %}")
    (project / "packages.yml").write_text("packages: [{local: local_packages/shared}]")
    (project / MODEL).write_text("select {{ shared.cents(1) }} as one")
    with pytest.raises(ProjectError, match='Run "dbt deps"'):
        release.refresh()
    installed = dbtRunner().invoke(["deps", "--quiet", "--project-dir", str(project), "--profiles-dir", str(project)])
    assert installed.success, installed.exception
    made = release.refresh()
    # One is written out: what is linked to may change, or go.
    assert not (made.path / "dbt_packages/shared").is_symlink()
    (package / "macros/cents.sql").write_text("{% macro cents(dollars) %}{{ dollars }} * 1000{% endmacro %}")
    assert release.refresh() != made


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("vars.yml", "vars: {days: 7}", "vars: {days: 8}"),
        ("lib/cents.sql", "{% macro cents() %}100{% endmacro %}", "{% macro cents() %}1000{% endmacro %}"),
        ("dbt_packages/shared/dbt_project.yml", "vars: {days: 7}", "vars: {days: 8}"),
        (
            "bought/shared/macros/cents.sql",
            "{%- macro cents() -%}1{%- endmacro %}",
            "{%- macro cents() -%}2{%- endmacro %}",
        ),
    ],
)
def test_what_a_macro_or_a_variable_says_is_part_of_every_checksum_wherever_it_lies(
    file: str, before: str, after: str, tmp_path: Path
) -> None:
    hashes = []
    for text in (before, after):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
        release.write_macros_hash(tmp_path)
        hashes.append((tmp_path / "macros/daily/macros_hash.sql").read_text())
    assert hashes[0] != hashes[1]


def test_another_version_of_dbts_own_macros_is_another_release_and_part_of_every_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENERY_DBT_DIR", str(tmp_path))
    hashes, stamps = [], []
    for other in ("", "1"):
        monkeypatch.setattr(release, "version", lambda name, other=other: name + other * (name == "dbt-adapters"))
        monkeypatch.setattr(releases, "version", lambda name, other=other: name + other * (name == "dbt-adapters"))
        stamps.append(release.releases().stamp_of(tmp_path / "dbt"))
        release.write_macros_hash(tmp_path)
        hashes.append((tmp_path / "macros/daily/macros_hash.sql").read_text())
    assert hashes[0] != hashes[1]
    assert stamps[0] != stamps[1]


def test_a_package_that_holds_the_project_is_read_once(project: Path) -> None:
    (project / "dbt_packages").mkdir()
    (project / "dbt_packages/whole").symlink_to(project)
    assert release.refresh().manifest.exists()


def test_folders_that_are_called_like_those_that_dbt_writes_are_part_of_a_release(project: Path) -> None:
    (project / "models/logs").mkdir()
    (project / "models/logs/two.sql").write_text("select 2 as two")
    (project / "logs").mkdir()
    (project / "logs/mine.log").write_text("")
    made = release.refresh()
    assert (made.path / "models/logs/two.sql").exists()
    assert not (made.path / "logs/mine.log").exists()


def test_a_release_without_a_seal_is_made_again(released: Path) -> None:
    """As after an upgrade from a version that knew no seals."""
    made = release.refresh()
    (made.path / seal.FILE).unlink()
    assert release.refresh() == made
    release.check(made)


def test_a_folder_that_cannot_be_written_is_said(project: Path) -> None:
    settings.state_dir().write_text("no folder")
    with pytest.raises(ProjectError, match=r"is not released, and .* can't be written: Not a directory"):
        release.refresh()
