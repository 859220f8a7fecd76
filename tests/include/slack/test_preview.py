"""`make slack-preview`: every message is there to be read and to be pasted, with or without a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from include.slack import preview
from include.slack.samples import messages


def test_every_message_is_written_as_text_as_json_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no browser
    assert preview.main() == 0
    folder = tmp_path / "slack-preview"
    for name, message in messages().items():
        assert (folder / f"{name}.txt").read_text() == message.body + "\n"
        assert json.loads((folder / f"{name}.json").read_text()) == {"blocks": message.blocks}
    page = (folder / "index.html").read_text()
    assert page.count('class="message phone"') == page.count('class="message desktop"') == len(messages())
    assert "<script" not in page
    assert "&lt;!channel&gt;" in page
    printed, said = capsys.readouterr()
    assert printed == f"{folder / 'index.html'}\n"
    assert "No picture, as there is no chromium. Where there is one: chromium --headless" in said
