"""Folders for files that nobody reads later: none is left for good, and nobody loses one."""

from __future__ import annotations

import fcntl
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest

from include.fast_cosmos import scratch


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for such."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def leave() -> None:
    """What a process leaves that is killed."""
    if (child := os.fork()) == 0:
        with scratch.folder() as folder:
            (folder / "compiled").mkdir()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_it_goes_with_the_block(where: Path) -> None:
    with scratch.folder() as folder:
        (folder / "compiled").mkdir()
        assert [*where.iterdir()] == [folder]
    assert [*where.iterdir()] == []


def test_what_a_killed_process_left_goes_with_the_next_and_nothing_else(where: Path) -> None:
    (where / "dbt").mkdir()
    with scratch.folder() as folder:
        leave()
        assert len([*where.iterdir()]) == 3
        with scratch.folder() as other:
            assert {*where.iterdir()} == {where / "dbt", folder, other}
    assert [*where.iterdir()] == [where / "dbt"]


@pytest.mark.parametrize("killed_at", ["os.open", "fcntl.flock"])
def test_a_process_that_is_killed_before_its_folder_is_locked_leaves_none_for_good(
    where: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(killed_at, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        leave()
    assert len([*where.iterdir()]) == 1
    with scratch.folder() as folder:
        assert [*where.iterdir()] == [folder]


@pytest.mark.parametrize("comes_at", ["os.open", "fcntl.flock"])
def test_a_folder_that_somebody_removed_before_it_was_locked_is_made_again(
    where: Path, monkeypatch: pytest.MonkeyPatch, comes_at: str
) -> None:
    really = {"os.open": os.open, "fcntl.flock": fcntl.flock}[comes_at]

    def as_another_looks(*arguments: Any) -> Any:
        monkeypatch.setattr(comes_at, really)
        with scratch.folder():
            return really(*arguments)

    monkeypatch.setattr(comes_at, as_another_looks)
    with scratch.folder() as folder:
        assert [*where.iterdir()] == [folder]


def test_what_only_has_such_a_name_is_left_alone(where: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever may write there can put it there: what it points to is somebody's, and a pipe would be waited for."""
    somebodys = tmp_path_factory.mktemp("somebodys")
    (somebodys / "file").touch()
    (where / "fast-cosmos-link").symlink_to(somebodys)
    os.mkfifo(where / "fast-cosmos-pipe")
    with scratch.folder():
        assert (where / "fast-cosmos-link" / "file").exists()
