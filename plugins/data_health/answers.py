"""A view is asked once and answers as a page and as JSON; an answer is kept until something that it shows changes."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

from cachetools import LRUCache
from fastapi import Request
from fastapi.responses import Response
from pydantic import TypeAdapter

from plugins.data_health import pages
from plugins.data_health.reading import reading, stamp

# Compressed, answers are some kilobytes, and the longest some hundred.
KEPT = 256


@dataclass(frozen=True)
class Question:
    """A view's function, and with what it is asked: `read(reading, *arguments)`."""

    read: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


def as_json(request: Request, question: Question) -> Response:
    """The answer as JSON. Raises LookupError for what there is not, and psycopg2.Error."""
    body = _kept((question, None), lambda: gzip.compress(to_json(_ask(question))))
    return _send(request, body, "application/json")


def as_page(request: Request, question: Question, template: str) -> Response:
    """The answer as a page. Raises the same."""
    body = _kept((question, template), lambda: gzip.compress(pages.render(template, answer=_ask(question)).encode()))
    return _send(request, body, "text/html")


def ask(question: Question) -> Any:
    """The answer itself. Raises the same."""
    return _kept((question, "itself"), lambda: _ask(question))


def to_json(answer: Any) -> bytes:
    """A dataclass as JSON."""
    return _adapter(type(answer)).dump_json(answer)


_answers: LRUCache[Any, tuple[Any, Any]] = LRUCache(KEPT)
# Who asks what somebody is being answered waits for that answer; most other questions have another lock.
_locks = tuple(Lock() for _ in range(61))
_writing = Lock()


def _kept(key: tuple[Question, str | None], make: Callable[[], Any]) -> Any:
    now = stamp()
    with _locks[hash(key) % len(_locks)]:
        with _writing:
            at, answer = _answers.get(key, (None, None))
        if at != now:
            answer = make()
            with _writing:
                _answers[key] = now, answer
    return answer


def _ask(question: Question) -> Any:
    with reading() as all_there_is:
        return question.read(all_there_is, *question.arguments)


def _send(request: Request, body: bytes, media_type: str) -> Response:
    """Compressed once, not once a reader."""
    headers = {"Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return Response(body, media_type=media_type, headers=headers | {"Content-Encoding": "gzip"})
    return Response(gzip.decompress(body), media_type=media_type, headers=headers)


@lru_cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
