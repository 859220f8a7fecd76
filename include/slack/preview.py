"""`make slack-preview`: every kind of message, as text, as JSON for Block Kit Builder, and drawn on a page.

The page draws them about as Slack does, at a phone's and at a desktop's width. Paste a JSON file into
https://app.slack.com/block-kit-builder to see it drawn by Slack itself.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from html import escape
from pathlib import Path

from include import settings
from include.slack.draw import draw
from include.slack.message import Message
from include.slack.samples import messages

# What the picture for the README shows.
_PICTURED = ("failed_source", "published_explained")
# What Slack shows where a message mentions somebody of the samples.
_MENTIONED = {"S0PLATFORM": "data-platform", "U0PRODUCT1": "Pia Product"}
# The same as the data-health page draws messages with.
_STYLE = settings.PROJECT_ROOT / "plugins" / "data_health" / "static" / "slack.css"
_PAGE_STYLE = """
body { margin: 0; padding: 24px; background: #f4f4f4; color: #1d1c1d; font-family: sans-serif }
h2 { font: 600 13px monospace; margin: 28px 0 6px; color: #616061 }
.pair { display: flex; gap: 24px; align-items: flex-start; flex-wrap: wrap }
.phone { width: 360px } .desktop { width: 720px }
"""


def main() -> int:
    """Write the previews and say where they are."""
    folder = settings.state_dir() / "slack-preview"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    drawn = messages()
    for name, message in drawn.items():
        (folder / f"{name}.txt").write_text(message.body + "\n")
        blocks = json.dumps({"blocks": message.blocks}, indent=2, ensure_ascii=False)
        (folder / f"{name}.json").write_text(blocks + "\n")
    page = folder / "index.html"
    page.write_text(_page("".join(_pair(name, message) for name, message in drawn.items())))
    print(
        f"{len(drawn)} messages on a page; beside it each as text, and as JSON for Block Kit Builder.", file=sys.stderr
    )
    print(page)
    pictured = folder / "picture.html"
    pictured.write_text(_page(f'<div class="pair">{"".join(_draw(drawn[name], "phone") for name in _PICTURED)}</div>'))
    picture = folder / "messages.png"
    if lacks := _take_picture(pictured, picture):
        print(lacks, file=sys.stderr)
    else:
        print("The picture of the README (docs/slack-message.png is a copy of it):", file=sys.stderr)
        print(picture)
    return 0


def _take_picture(page: Path, picture: Path) -> str | None:
    """Have a browser draw the page; why there is no picture, where there is none."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1.5"]
    take = [*options, "--window-size=792,1120", f"--screenshot={picture}", page.as_uri()]
    if browser is None:
        return f"No picture, as there is no chromium. Where there is one: chromium {' '.join(take)}"
    done = subprocess.run([browser, *take], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode or not picture.exists():
        return f"No picture: {browser} ended with {done.returncode}.\n{done.stderr[-2000:]}"
    return None


def _page(content: str) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Slack messages</title>'
        f"<style>{_PAGE_STYLE}{_STYLE.read_text()}</style><body>{content}</body></html>\n"
    )


def _pair(name: str, message: Message) -> str:
    return f'<h2>{escape(name)}</h2><div class="pair">{_draw(message, "phone")}{_draw(message, "desktop")}</div>'


def _draw(message: Message, width: str) -> str:
    blocks = draw(message.blocks, _MENTIONED)
    return f'<div class="message {width}"><div class="app">Greenery<span>APP  06:04</span></div>{blocks}</div>'


if __name__ == "__main__":
    sys.exit(main())
