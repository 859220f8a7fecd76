"""The command that makes a preview, where none can be made."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.preview.__main__ import main


def test_where_none_can_be_made_no_report_of_before_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("WAREHOUSE_DEVELOPER_USER", "WAREHOUSE_DEVELOPER_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    for name in ("report.json", "report.md"):
        (tmp_path / name).write_text("of before")
    assert main(["main", "--out", str(tmp_path)]) == 2
    assert "WAREHOUSE_DEVELOPER_PASSWORD is not set" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
