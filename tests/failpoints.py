"""Death between two commits: something is done in a process of its own, which is killed before or after the nth commit.

What commits is found by the way it does so, so nothing in the product knows of this. A commit of psql's, or of files,
counts where a test names the function that makes it. What only reads commits nothing.
"""

from __future__ import annotations

import os
import re
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial, wraps
from itertools import count
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INTRANS, connection, cursor
from psycopg2.sql import Composable

LIMIT_SECONDS = 120
_READS = re.compile(r"\s*(select|show|set|reset|begin|listen|savepoint|rollback|values|table)\b", re.IGNORECASE)
_WRITES = "select pg_current_xact_id_if_assigned() is not null"


@dataclass(frozen=True)
class Point:
    """Before or after which commit a process dies; the first one is number 1."""

    number: int
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} commit {self.number}"


@dataclass
class _Count:
    """The commits of this process, which dies at its point."""

    dies: Point | None
    made: int = field(default=0)

    @contextmanager
    def commit(self) -> Iterator[None]:
        self.made += 1
        self._die(after=False)
        yield
        self._die(after=True)

    def _die(self, *, after: bool) -> None:
        if self.dies == Point(self.made, after):
            os.kill(os.getpid(), signal.SIGKILL)


def points() -> Iterator[Point]:
    """Before the first commit, after it, before the second one, and so on: for as long as somebody asks."""
    for number in count(1):
        yield Point(number, after=False)
        yield Point(number, after=True)


def dies(does: Callable[[], object], at: Point | None = None, also: Iterable[tuple[Any, str]] = ()) -> bool:
    """Do it in a process of its own; True where that died at the point, False where it came to its end before.

    `also` are further functions that commit, by what they belong to and their name. Raises AssertionError where it
    ended in any other way.
    """
    child = os.fork()
    if child == 0:
        _do(does, at, also)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), f"it ended with {code}"
    return code != 0


def _do(does: Callable[[], object], at: Point | None, also: Iterable[tuple[Any, str]]) -> None:
    """The life of the process: it never returns, and leaves nothing of the tests' to be cleaned up twice."""
    signal.alarm(LIMIT_SECONDS)
    code = 1
    try:
        commits = _Count(at)
        psycopg2.connect = partial(psycopg2.connect, connection_factory=_counted(commits))
        for owner, name in also:
            setattr(owner, name, _counting(commits, getattr(owner, name)))
        does()
        code = 0
    except BaseException:  # whatever it is, this process must not go on as if it were the tests'
        traceback.print_exc()
    finally:
        os._exit(code)


def _counting(commits: _Count, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def counted(*arguments: Any, **named: Any) -> Any:
        with commits.commit():
            return function(*arguments, **named)

    return counted


def _counted(commits: _Count) -> type[connection]:
    """A class of connections that counts what it commits."""

    class Cursor(cursor):
        def execute(self, query: Any, arguments: Any = None) -> None:
            text = query.as_string(self) if isinstance(query, Composable) else query
            text = text.decode() if isinstance(text, bytes) else text
            idle = self.connection.info.transaction_status == TRANSACTION_STATUS_IDLE
            alone = self.connection.autocommit and idle and not _READS.match(text)
            if alone or text.strip().lower() == "commit":
                with commits.commit():
                    return super().execute(query, arguments)
            return super().execute(query, arguments)

    class Connection(connection):
        def cursor(self, *arguments: Any, **named: Any) -> Any:
            return super().cursor(*arguments, **{"cursor_factory": Cursor, **named})

        def commit(self) -> None:
            if self._writes():
                with commits.commit():
                    super().commit()
            else:
                super().commit()

        def _writes(self) -> bool:
            if self.info.transaction_status != TRANSACTION_STATUS_INTRANS:
                return False
            with super().cursor() as asking:
                asking.execute(_WRITES)
                return asking.fetchone()[0]

    return Connection
