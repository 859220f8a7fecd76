"""A view is asked once and answers as a page and as JSON; an answer is kept until something that it shows changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fastapi.responses import Response
from pydantic import TypeAdapter

from plugins.data_health import pages
from plugins.data_health.reading import Reading, reading, stamp

# Answers are some ten to some hundred kilobytes.
KEPT = 256


@dataclass(frozen=True)
class Question:
    """A view's function, and with what it is asked: `read(reading, *arguments)`."""

    read: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


def as_json(question: Question) -> Response:
    """The answer as JSON. Raises LookupError for what there is not, and psycopg2.Error."""
    return Response(_json(question, stamp()), media_type="application/json")


def as_page(question: Question, template: str) -> Response:
    """The answer as a page. Raises the same."""
    return Response(_page(question, template, stamp()), media_type="text/html")


def ask(question: Question) -> Any:
    """The answer itself. Raises the same."""
    return _answer(question, stamp())


def to_json(answer: Any) -> bytes:
    """A dataclass as JSON."""
    return _adapter(type(answer)).dump_json(answer)


@lru_cache(maxsize=KEPT)
def _json(question: Question, _stamp: tuple[Any, ...]) -> bytes:
    return to_json(_ask(question))


@lru_cache(maxsize=KEPT)
def _answer(question: Question, _stamp: tuple[Any, ...]) -> Any:
    return _ask(question)


@lru_cache(maxsize=KEPT)
def _page(question: Question, template: str, _stamp: tuple[Any, ...]) -> bytes:
    return pages.render(template, answer=_ask(question)).encode()


def _ask(question: Question) -> Any:
    with reading() as all_there_is:
        return question.read(all_there_is, *question.arguments)


@lru_cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


__all__ = ["Question", "Reading", "as_json", "as_page", "ask", "to_json"]
