"""Slack's side of an incoming webhook, played on localhost: takes what Slack takes and refuses what Slack refuses.

Limits as documented by Slack: 50 blocks a message, 3,000 characters a section, 150 a header, 40,000 in all.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/services/T000/B000/secret"


@dataclass
class Slack:
    """What arrived, and what to answer: each entry of `answers` is used up by one request, then Slack is well again."""

    url: str = ""
    accepted: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    def connection(self) -> str:
        """An Airflow connection to it, as AIRFLOW_CONN_SLACK_DEFAULT takes it."""
        return json.dumps({"conn_type": "slackwebhook", "host": self.url, "password": PATH.removeprefix("/services/")})


@contextmanager
def slack_server() -> Iterator[Slack]:
    """Serve for the time of the block."""
    slack = Slack()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if slack.answers:
                self._answer(slack.answers.pop(0), "not now")
            elif self.path != PATH:
                self._answer(404, "no_service")
            elif problem := _problem(json.loads(body)):
                slack.refused.append(problem)
                self._answer(400, problem)
            else:
                slack.accepted.append(json.loads(body))
                self._answer(200, "ok")

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    slack.url = f"http://127.0.0.1:{server.server_port}/services"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield slack
    finally:
        server.shutdown()
        server.server_close()


def _problem(message: dict[str, Any]) -> str | None:
    blocks = message.get("blocks", [])
    if not message.get("text"):
        return "no_text"
    if len(blocks) > 50:
        return "invalid_blocks: more than 50"
    for block in blocks:
        text = block.get("text", {}).get("text", "")
        kind = block["type"]
        if kind not in ("header", "section", "context", "divider"):
            return f"invalid_blocks: {kind}"
        if kind in ("header", "section") and not 1 <= len(text) <= {"header": 150, "section": 3000}[kind]:
            return f"invalid_blocks: {kind} of {len(text)} characters"
        if kind == "header" and block["text"]["type"] != "plain_text":
            return "invalid_blocks: header text must be plain_text"
        if kind == "context" and not 1 <= len(block["elements"]) <= 10:
            return "invalid_blocks: context elements"
    return "msg_too_long" if len(json.dumps(message)) > 40_000 else None
