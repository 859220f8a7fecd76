"""dbt in this process, on a release: parsed before, not written to, and as the project was when it was released."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from include.dbt_project import invocation, release
from include.settings import Warehouse
from tests.include.dbt_project.conftest import MODEL

pytestmark = pytest.mark.db


@pytest.fixture(autouse=True)
def _nothing_loaded(warehouse: Warehouse) -> None:
    """As in a new process."""
    invocation.load.cache_clear()


def files(of: release.Release) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in of.path.rglob("*") if path.is_file()}


def compiled(of: release.Release) -> str:
    [result] = invocation.invoke(of, ["build", "--quiet"]).result.results
    return result.node.compiled_code


def test_a_model_that_was_changed_a_second_ago_runs_as_changed(project: Path) -> None:
    assert compiled(release.refresh()) == "select 1 as one"
    (project / MODEL).write_text("select 2 as one")
    assert compiled(release.refresh()) == "select 2 as one"


def test_a_release_runs_as_it_was_whatever_was_released_since(project: Path) -> None:
    old = release.refresh()
    (project / MODEL).write_text("select 2 as one")
    release.refresh()
    assert compiled(old) == "select 1 as one"


def test_no_file_is_parsed_a_second_time(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = release.refresh()
    with caplog.at_level(logging.WARNING, invocation.__name__):
        invocation.load(made.path)
    assert caplog.messages == []


def test_a_parse_that_does_not_fit_is_told(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = release.refresh()
    (made.path / MODEL).write_text("select 3 as one")
    with caplog.at_level(logging.WARNING, invocation.__name__):
        invocation.load(made.path)
    assert "1 files" in caplog.text


def test_dbt_writes_nothing_into_a_release(project: Path) -> None:
    made = release.refresh()
    before = files(made)
    invocation.invoke(made, ["build", "--quiet"])
    assert files(made) == before


def test_a_failing_model_is_a_result_and_not_an_exception(project: Path) -> None:
    (project / MODEL).write_text("select one from nowhere")
    done = invocation.invoke(release.refresh(), ["build", "--quiet"])
    assert not done.success
    assert "nowhere" in done.result.results[0].message
