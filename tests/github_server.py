"""GitHub's side, played on localhost: comments of a pull request and checks, which take and refuse what GitHub does.

As documented by GitHub: 65,536 characters a comment, 65,535 a check's summary, 50 annotations a request; lists come in
pages of 100 at most, and a `Link` header leads to the next one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests import http_server

TOKEN = "ghs_played"
REPOSITORY = "greenery/data"
NUMBER = 7
BOT = "github-actions[bot]"
PERMISSIONS = frozenset({"pull-requests: write", "checks: write"})

# A request that GitHub takes, and whose sender does not hear of it.
TAKE_AND_502 = "take and 502"
# What a check and an annotation may hold, and what they must.
_CHECK = {"name", "head_sha", "status", "conclusion", "details_url", "output", "external_id", "started_at"}
_OUTPUT = {"title", "summary", "text", "annotations"}
_ANNOTATION = {"path", "start_line", "end_line", "annotation_level", "message", "title", "raw_details"}
_CONCLUSIONS = {"action_required", "cancelled", "failure", "neutral", "success", "skipped", "timed_out"}


@dataclass
class GitHub:
    """What stands there, and what to answer: each entry of `answers` is used up by one request.

    An answer is a status, `TAKE_AND_502`, or None for GitHub as it is; `headers` go with the next one that is a status.
    """

    url: str = ""
    permissions: frozenset[str] = PERMISSIONS
    comments: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    answers: list[int | str | None] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    said: str = "Bad Gateway"

    def add_comment(self, login: str, body: str) -> dict[str, Any]:
        """Somebody writes a comment."""
        number = 1000 + len(self.comments)
        address = f"https://github.example/{REPOSITORY}/pull/{NUMBER}#issuecomment-{number}"
        self.comments.append({"id": number, "user": {"login": login}, "body": body, "html_url": address})
        return self.comments[-1]

    def of(self, login: str) -> list[str]:
        """What somebody's comments say."""
        return [one["body"] for one in self.comments if one["user"]["login"] == login]


class _RefusedError(Exception):
    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


@contextmanager
def github_server() -> Iterator[GitHub]:
    """Serve for the time of the block."""
    github = GitHub()

    class Handler(http_server.Handler):
        def _answer(self) -> None:
            content = json.loads(self.body() or "null")
            github.asked.append(f"{self.command} {self.path}")
            planned = github.answers.pop(0) if github.answers else None
            if isinstance(planned, int):
                return self._send(planned, {"message": github.said}, github.headers)
            try:
                status, told, headers = _handled(github, self.command, self.path, self.headers, content)
            except _RefusedError as refused:
                github.refused.append(str(refused))
                return self._send(refused.status, {"message": str(refused)}, refused.headers)
            if planned == TAKE_AND_502:
                return self._send(502, {"message": "Bad Gateway"}, {})
            return self._send(status, told, headers)

        do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - as http.server calls them

        def _send(self, status: int, told: Any, headers: dict[str, str]) -> None:
            self.answer(status, json.dumps(told), headers)

    with http_server.served(Handler) as github.url:
        yield github


def _handled(github: GitHub, method: str, address: str, headers: Any, content: Any) -> tuple[int, Any, dict[str, str]]:
    """A request: status, content and headers of the answer."""
    if headers.get("Authorization") != f"Bearer {TOKEN}":
        raise _RefusedError(401, "Bad credentials")
    parts = urlsplit(address)
    match method, parts.path.removeprefix(f"/repos/{REPOSITORY}"):
        case "GET", path if path == f"/issues/{NUMBER}/comments":
            return _page(github, parts.path, parse_qs(parts.query))
        case "POST", path if path == f"/issues/{NUMBER}/comments":
            _may(github, "pull-requests: write")
            return 201, github.add_comment(BOT, _body(content)), {}
        case "PATCH", path if found := re.fullmatch(r"/issues/comments/(\d+)", path):
            _may(github, "pull-requests: write")
            comment = next((one for one in github.comments if one["id"] == int(found[1])), None)
            if comment is None:
                raise _RefusedError(404, "Not Found")
            comment["body"] = _body(content)
            return 200, comment, {}
        case "POST", "/check-runs":
            _may(github, "checks: write")
            _check(content)
            github.checks.append(content)
            return 201, {"id": len(github.checks)}, {}
    raise _RefusedError(404, "Not Found")


def _page(github: GitHub, path: str, query: dict[str, list[str]]) -> tuple[int, Any, dict[str, str]]:
    size, page = min(100, int(query.get("per_page", ["30"])[0])), int(query.get("page", ["1"])[0])
    shown = github.comments[size * (page - 1) : size * page]
    if size * page >= len(github.comments):
        return 200, shown, {}
    return 200, shown, {"Link": f'<{github.url}{path}?per_page={size}&page={page + 1}>; rel="next"'}


def _may(github: GitHub, permission: str) -> None:
    if permission not in github.permissions:
        raise _RefusedError(403, "Resource not accessible by integration")


def _body(content: dict[str, Any]) -> str:
    _only(content, {"body"}, {"body"})
    if len(content["body"]) > 65_536:
        raise _RefusedError(422, "Validation Failed: body is too long (maximum is 65536 characters)")
    return content["body"]


def _check(content: dict[str, Any]) -> None:
    _only(content, _CHECK, {"name", "head_sha"})
    if content.get("conclusion") not in _CONCLUSIONS:
        raise _RefusedError(422, f"Invalid request. {content.get('conclusion')} is not a conclusion")
    output = content.get("output", {})
    _only(output, _OUTPUT, {"title", "summary"})
    if len(output["summary"]) > 65_535:
        raise _RefusedError(422, "Invalid request. summary exceeds a maximum of 65535 characters")
    annotations = output.get("annotations", [])
    if len(annotations) > 50:
        raise _RefusedError(422, "Invalid request. No more than 50 items are allowed")
    for one in annotations:
        _only(one, _ANNOTATION, {"path", "start_line", "end_line", "annotation_level", "message"})
        if one["annotation_level"] not in ("notice", "warning", "failure"):
            raise _RefusedError(422, f"Invalid request. {one['annotation_level']} is not a level")
        if one["path"].startswith("/") or ".." in one["path"]:
            raise _RefusedError(422, f"Invalid request. {one['path']} is not a path in the repository")


def _only(content: dict[str, Any], allowed: set[str], wanted: set[str]) -> None:
    if unknown := content.keys() - allowed:
        raise _RefusedError(422, f'Invalid request. "{min(unknown)}" is not a permitted key.')
    if missing := wanted - content.keys():
        raise _RefusedError(422, f'Invalid request. "{min(missing)}" wasn\'t supplied.')
