"""A sealed folder: what is changed in it is told, and a packed one is the same elsewhere."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from include.fast_cosmos import seal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, sealed."""
    folder = tmp_path / "folder"
    (folder / "models").mkdir(parents=True)
    (folder / "models/one.sql").write_text("select 1")
    (folder / "dbt_project.yml").write_text("name: small")
    seal.seal(folder, "stamp", ["dbt"])
    return folder


def same_size_and_time(file: Path) -> None:
    before = file.stat()
    file.write_text("select 2")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "models/one.sql": lambda folder: same_size_and_time(folder / "models/one.sql"),
    "dbt_project.yml": lambda folder: (folder / "dbt_project.yml").unlink(),
    "models/two.sql": lambda folder: (folder / "models/two.sql").write_text(""),
    "macros": lambda folder: (folder / "macros").symlink_to(folder.parent),
    "seal.json": lambda folder: (folder / "seal.json").write_text("{}"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_changed_is_named_though_it_was_looked_at_before(folder: Path, name: str) -> None:
    assert seal.changed(folder) == ()
    CHANGES[name](folder)
    assert seal.changed(folder) == (name,)


def test_a_file_is_read_again_only_where_it_looks_different(folder: Path) -> None:
    before = seal._changed.cache_info().misses
    for _ in range(3):
        seal.changed(folder)
    assert seal._changed.cache_info().misses == before + 1


def test_a_packed_folder_is_the_same_elsewhere(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    seal.unpack(seal.pack(folder), elsewhere)
    assert seal.changed(elsewhere) == ()
    assert seal.read(elsewhere) == seal.read(folder)


def test_nothing_that_is_packed_gets_out_of_its_folder_and_nothing_unsealed_in(folder: Path, tmp_path: Path) -> None:
    packed = io.BytesIO(seal.pack(folder))
    with zipfile.ZipFile(packed, "a") as file:
        file.writestr("../../outside.sql", "drop schema ops cascade")
    seal.unpack(packed.getvalue(), tmp_path / "a" / "b")
    assert seal.changed(tmp_path / "a" / "b") == ("outside.sql",)
    assert not (tmp_path / "outside.sql").exists()


def test_what_was_never_packed_has_no_seal(tmp_path: Path) -> None:
    seal.unpack(b"code", tmp_path / "elsewhere")
    assert seal.changed(tmp_path / "elsewhere") == (seal.FILE,)
