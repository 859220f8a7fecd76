"""Every kind of message against its golden file, as text and as JSON, and against what Slack takes.

`GOLDEN=write` in the environment writes the files anew; read the difference before you commit it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from include.slack.message import Message
from include.slack.samples import HOSTILE, messages
from tests.slack_server import _problem

GOLDEN = Path(__file__).parent / "golden"
MESSAGES = messages()


def texts(message: Message) -> list[str]:
    """All text of the blocks, as it is sent."""
    objects = [block["text"] for block in message.blocks if "text" in block]
    objects += [element for block in message.blocks for element in block.get("elements", [])]
    return [one["text"] for one in objects]


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_as_its_golden_file_has_it(name: str) -> None:
    message = MESSAGES[name]
    files = {
        GOLDEN / f"{name}.txt": message.body + "\n",
        GOLDEN / f"{name}.json": json.dumps({"blocks": message.blocks}, indent=2, ensure_ascii=False) + "\n",
    }
    if os.environ.get("GOLDEN") == "write":
        for file, content in files.items():
            file.write_text(content)
    assert {file.name: content for file, content in files.items()} == {file.name: file.read_text() for file in files}


def test_every_golden_file_is_that_of_a_message() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(MESSAGES)


@pytest.mark.parametrize("name", MESSAGES)
def test_slack_takes_it_and_a_phone_shows_it(name: str) -> None:
    message = MESSAGES[name]
    assert _problem({"text": message.headline, "blocks": message.blocks}) is None
    assert sum(map(len, texts(message))) <= 10_000
    assert message.body.startswith(f"{message.headline}\n")
    assert message.headline.count("\n") == 0


@pytest.mark.parametrize("name", [name for name in MESSAGES if "hostile" in name])
def test_text_from_data_can_not_speak(name: str) -> None:
    message = MESSAGES[name]
    sent = json.dumps(message.blocks, ensure_ascii=False) + message.headline
    assert not any(said in sent for said in ("<!", "<@", "<http://evil", "\u202e", "\u200b", "\u200d", "\u2066", "\r"))
    assert HOSTILE[-1] not in sent
    assert all(block["text"].get("verbatim", True) for block in message.blocks if "text" in block)
    assert sent.count("\u2068") == sent.count("\u2069"), "an isolate is left open"
