"""`make slack-preview`: every kind of message, as text, as JSON for Block Kit Builder, and drawn on a page.

The page draws the few parts of Block Kit that the messages use, about as Slack does, at a phone's and at a desktop's
width. Paste a JSON file into https://app.slack.com/block-kit-builder to see it drawn by Slack itself.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html import escape
from pathlib import Path
from typing import Any

from include import settings
from include.slack.message import Message
from include.slack.samples import messages

# What the picture for the README shows.
_PICTURED = ("failed_source", "published")
# What Slack shows where a message mentions somebody of the samples.
_MENTIONED = {"S0PLATFORM": "data-platform", "U0PRODUCT1": "Pia Product"}
# Drawn here, since not every machine has a font for them.
_EMOJI = {"✅": ("#2bac76", "✓"), "🔴": ("#e01e5a", ""), "✋": ("#ecb22e", "!"), "ℹ️": ("#36c5f0", "i")}
_STYLE = """
body { margin: 0; padding: 24px; background: #f4f4f4; color: #1d1c1d; font: 15px/1.46 Lato, "Noto Sans", sans-serif }
h1 { font-size: 20px } h2 { font: 600 13px monospace; margin: 28px 0 6px; color: #616061 }
.pair { display: flex; gap: 24px; align-items: flex-start; flex-wrap: wrap }
.message { background: #fff; border: 1px solid #ddd; border-radius: 8px; padding: 12px 16px; box-sizing: border-box }
.message { overflow-wrap: anywhere; white-space: pre-wrap }
.phone { width: 360px } .desktop { width: 720px }
.app { font-weight: 900 } .app span { font: 12px sans-serif; color: #616061; margin-left: 6px }
.header { font-size: 18px; font-weight: 900; margin: 4px 0 8px } .section { margin: 8px 0 }
.context { font-size: 13px; color: #616061; margin-top: 8px }
code { font: 12px monospace; color: #c01343; background: #f6f6f6; border: 1px solid #ddd; border-radius: 3px }
code { padding: 1px 3px } a { color: #1264a3; text-decoration: none }
i { display: inline-block; width: 1.2em; height: 1.2em; line-height: 1.2; border-radius: 50%; text-align: center }
i { color: #fff; font-style: normal }
i:empty { vertical-align: -0.2em }
.mention { color: #1264a3; background: #e8f5fa; border-radius: 3px; padding: 0 2px }
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
    print(f"{len(drawn)} messages, as text and as JSON for Block Kit Builder: {folder}")
    print(f"All of them on a page: {page}")
    pictured = folder / "picture.html"
    pictured.write_text(_page(f'<div class="pair">{"".join(_draw(drawn[name], "phone") for name in _PICTURED)}</div>'))
    print(_take_picture(pictured, folder / "messages.png"))
    return 0


def _take_picture(page: Path, picture: Path) -> str:
    """Have a browser draw the page; what to say of it."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1.5"]
    take = [*options, "--window-size=792,990", f"--screenshot={picture}", page.as_uri()]
    if browser is None:
        return f"No picture, as there is no chromium. Where there is one: chromium {' '.join(take)}"
    done = subprocess.run([browser, *take], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode or not picture.exists():
        return f"No picture: {browser} ended with {done.returncode}.\n{done.stderr[-2000:]}"
    return f"The picture of the README (docs/slack-message.png is a copy of it): {picture}"


def _page(content: str) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Slack messages</title>'
        f"<style>{_STYLE}</style><body>{content}</body></html>\n"
    )


def _pair(name: str, message: Message) -> str:
    return f'<h2>{escape(name)}</h2><div class="pair">{_draw(message, "phone")}{_draw(message, "desktop")}</div>'


def _draw(message: Message, width: str) -> str:
    blocks = "".join(_block(block) for block in message.blocks)
    return f'<div class="message {width}"><div class="app">Greenery<span>APP  06:04</span></div>{blocks}</div>'


def _block(block: dict[str, Any]) -> str:
    texts = block.get("elements") or [block["text"]]
    drawn = "".join(_mrkdwn(one["text"]) if one["type"] == "mrkdwn" else escape(one["text"]) for one in texts)
    for emoji, (color, sign) in _EMOJI.items():
        drawn = drawn.replace(emoji, f'<i style="background: {color}">{sign}</i>')
    return f'<div class="{escape(block["type"])}">{drawn}</div>'


def _mrkdwn(text: str) -> str:
    """Slack's mrkdwn as HTML. What is in it is escaped as Slack wants it, which HTML wants as well."""
    text = text.replace('"', "&quot;")
    text = re.sub(r"<(https?:[^|>]*)\|([^>]*)>", r'<a href="\1">\2</a>', text)
    for slack, name in _MENTIONED.items():
        text = re.sub(rf"<(?:@|!subteam\^){slack}>", f'<span class="mention">@{name}</span>', text)
    text = re.sub(r"`([^`\n]+)`", r"<code>\1</code>", text)
    return re.sub(r"(?<![\w*])\*([^*\n]+)\*(?![\w*])", r"<b>\1</b>", text)


if __name__ == "__main__":
    sys.exit(main())
