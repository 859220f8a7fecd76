"""What is kept of previews goes as sandboxes do, the reports as well."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from include.preview import kept
from include.warehouse.sandbox import KEPT_FOR, Sandbox
from tests.include.preview.reports import SAME


def age(path: Path, of: timedelta) -> None:
    then = time.time() - of.total_seconds()
    os.utime(path, (then, then))


def test_a_preview_deletes_reports_and_folders_of_longer_ago_than_sandboxes_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    for release, of in (("old", KEPT_FOR + timedelta(hours=1)), ("newer", KEPT_FOR - timedelta(hours=1))):
        kept.keep(SAME, release)
        age(tmp_path / "previews" / f"{release}.json", of)
        age(kept.home(Sandbox(f"preview_{release}")), of)
    kept.home(Sandbox("preview_ana"))
    assert kept.of("old") is None
    assert kept.of("newer") == SAME
    assert {path.name for path in (tmp_path / "previews").iterdir()} == {"newer.json", "preview_newer", "preview_ana"}
