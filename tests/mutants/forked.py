"""Whether tests notice a change: `python -m tests.mutants.forked CHANGES TESTS…`, in a copy of the project.

The tests run once as they are, which says how long each takes and what it touches: lines of Python, and macros. Then
each change is made in a fork of that process, which has everything loaded, parsed and built: functions get the code of
what was changed, and dbt the text of a macro. The fork runs the tests that touch the change, cheapest first, up to the
first one that fails. What a process that a test starts does is not seen; it reads the changed file.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType, SimpleNamespace
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from include.local import postgres

# How many times as long as without the change a test may take, and what is granted on top: some wait for a lock.
TIMES_AS_LONG, SECONDS_MORE = 10, 60


@dataclass(frozen=True)
class Change:
    """What a file becomes, and where it is one of macros, a macro of it.

    To notice, a test has to touch one of `touches`: a line (`file:line`), or a macro by its unique id.
    """

    name: str
    file: str
    text: str
    touches: tuple[str, ...]
    macro: str = ""
    becomes: str = ""


@dataclass
class _Seen:
    """How long a test takes, and what it touches."""

    seconds: float = 0.0
    touched: set[str] = field(default_factory=set)


class Forked:
    """Takes the place of pytest's own loop over the tests."""

    def __init__(self, changes: Sequence[Change], answers: int) -> None:
        self.changes, self.answers = changes, answers
        # What each test that passes as it is takes and touches.
        self.seen: dict[pytest.Item, _Seen] = {}
        self.files = {str(Path(one.file).resolve()): one.file for one in changes if not one.macro}
        self.touched: set[str] = set()
        self.macros: dict[str, dict[int, Any]] = defaultdict(dict)
        # The warehouse of `tests/dbt`, where a test asks for it; and by name of a kept one, what making it touched.
        self.shop: Any = None
        self.of_kept: dict[str, set[str]] = {}
        # What was touched to make what the tests of a file share, by the fixture's name.
        self.of_fixtures: dict[str, set[str]] = defaultdict(set)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests as they are, then once more for each change."""
        with self._watched():
            for item, following in _with_the_next(session.items):
                self.touched, began = set(), time.monotonic()
                if failed := _failed(item, following):
                    print(f"It fails without a change, and judges nothing: {item.nodeid}\n{failed}", file=sys.stderr)
                else:
                    shared = (self.of_fixtures[name] for name in getattr(item, "fixturenames", ()))
                    self.seen[item] = _Seen(time.monotonic() - began, self.touched.union(*shared))
        if self.shop:
            self.shop.connection.close()  # each fork has its own
        for change in self.changes:
            tests = self._that_touch(change)
            answer = self._in_a_fork(change, tests) if tests else ""
            became = {"change": change.name, "tests": len(tests), "noticed": answer}
            os.write(self.answers, f"{json.dumps(became)}\n".encode())
        if self.shop:
            self.shop.connect()
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Iterator[object]:
        """What a fixture of a file touches, each of its tests does: one of them made it for all."""
        of_test, self.touched = self.touched, set()
        try:
            return (yield)
        finally:
            if fixturedef.scope not in ("function", "session"):  # a fork has those of the session as they are
                self.of_fixtures[fixturedef.argname] |= self.touched
            self.touched |= of_test

    def _that_touch(self, change: Change) -> list[pytest.Item]:
        """Tests that may notice a change: cheapest first, those of a file together, which share what it makes once."""
        touching = [item for item, one in self.seen.items() if one.touched & {*change.touches}]
        of_files = defaultdict(list)
        for item in sorted(touching, key=lambda one: self.seen[one].seconds):
            of_files[item.path].append(item)
        return [item for items in of_files.values() for item in items]

    def _in_a_fork(self, change: Change, tests: Sequence[pytest.Item]) -> str:
        """The test that fails with the change, or how else it shows; "" where it doesn't."""
        file = Path(change.file)
        right = file.read_text()
        reads, writes = os.pipe()
        file.write_text(change.text)
        try:
            if child := os.fork():  # what tests/forks.py forks has no fixtures
                os.close(writes)
                return _answer(child, reads)
            self._judge(change, tests, writes)
            raise AssertionError("a fork does not come back")
        finally:
            file.write_text(right)
            os.close(reads)

    def _judge(self, change: Change, tests: Sequence[pytest.Item], answer: int) -> None:
        """In the fork; does not return."""
        try:
            os.setsid()
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nowhere, stream)
            said = self._make(change) or self._first_that_fails(change, tests)
        except BaseException as error:  # whatever it is, it does not go unnoticed
            said = f"{type(error).__name__}: {error}"
        os.write(answer, said.encode()[:4000])
        os._exit(0)

    def _first_that_fails(self, change: Change, tests: Sequence[pytest.Item]) -> str:
        if self.shop:
            self.shop.connect()
            self._keep_apart(change)
        for item, following in _with_the_next(tests):
            signal.alarm(SECONDS_MORE + TIMES_AS_LONG * ceil(self.seen[item].seconds))  # which ends the process
            if _failed(item, following):
                return item.nodeid
        return ""

    def _make(self, change: Change) -> str:
        """Make the change in this process; returns why it can't be made, as where the module can't be imported then."""
        if change.macro:
            for macro in self.macros[change.macro].values():
                macro.macro_sql = change.becomes
            return ""
        try:
            _transplant(change)
        except Exception as error:  # what a module raises as it is imported
            return f"{type(error).__name__}: {error}"
        return ""

    def _keep_apart(self, change: Change) -> None:
        """Kept shops in which the change has a part are made anew, under names of their own."""
        come_to = self.shop.come_to
        with postgres.admin(self.shop.server) as cursor:
            cursor.execute("select datname from pg_database where datname like 'changed\\_%'")
            for (name,) in cursor.fetchall():
                cursor.execute(f'drop database "{name}" with (force)')

        def apart(name: str, play: Any) -> None:
            come_to(f"changed_{name}" if self.of_kept.get(name, set()) & {*change.touches} else name, play)

        self.shop.come_to = apart

    # What the tests touch.

    @contextmanager
    def _watched(self) -> Iterator[None]:
        from dbt.clients.jinja import MacroGenerator

        from tests.dbt.conftest import KeptShop

        asked, come_to, connect = MacroGenerator.__call__, KeptShop.come_to, KeptShop.connect

        def connected(shop: Any) -> None:
            self.shop = shop
            connect(shop)

        def ask(generator: Any, *args: Any, **kwargs: Any) -> Any:
            self.touched.add(generator.macro.unique_id)
            self.macros[generator.macro.unique_id][id(generator.macro)] = generator.macro
            return asked(generator, *args, **kwargs)

        def come(shop: Any, name: str, play: Any) -> None:
            of_test, self.touched = self.touched, set()
            try:
                come_to(shop, name, play)
            finally:
                # An earlier test may have made it.
                self.touched = of_test | self.of_kept.setdefault(name, set()) | self.touched
                self.of_kept[name] |= self.touched - of_test

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MacroGenerator, "__call__", ask)
            patch.setattr(KeptShop, "come_to", come)
            patch.setattr(KeptShop, "connect", connected)
            threading.settrace(self._of_call)
            sys.settrace(self._of_call)
            try:
                yield
            finally:
                sys.settrace(None)
                threading.settrace(None)  # type: ignore[arg-type]

    def _of_call(self, frame: FrameType, _event: str, _arg: object) -> Any:
        name = self.files.get(frame.f_code.co_filename)
        if name is None:
            return None

        def of_line(frame: FrameType, _event: str, _arg: object) -> Any:
            self.touched.add(f"{name}:{frame.f_lineno}")
            return of_line

        return of_line


def _with_the_next(items: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, Any]]:
    """Each with the one that follows, up to which fixtures are kept; behind the last one those of the session are."""
    nothing = SimpleNamespace(listchain=lambda: [items[0].session])
    return zip(items, [*items[1:], nothing], strict=True)


def _failed(item: pytest.Item, following: Any) -> str:
    """What pytest says of a test that fails."""
    reports = runtestprotocol(item, log=False, nextitem=following)
    return "\n".join(str(one.longrepr) for one in reports if one.failed)


def _answer(child: int, reads: int) -> str:
    """What a fork says, or what it died of; what it has started ends with it."""
    _, status = os.waitpid(child, 0)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    died = os.waitstatus_to_exitcode(status)
    if died == -signal.SIGALRM:
        return "a test does not come to an end"
    return os.read(reads, 4096).decode(errors="replace") or (f"the tests' process died of {died}" if died else "")


def _transplant(change: Change) -> None:
    """Let the module of a file do what its changed text does, for all who have imported it."""
    module = sys.modules[change.file.removesuffix(".py").replace("/", ".")]
    changed = ModuleType(module.__name__)
    changed.__file__ = module.__file__
    exec(compile(change.text, module.__file__ or "", "exec"), changed.__dict__)  # noqa: S102 - our own text
    of_objects(vars(module), vars(changed), module.__name__)


def of_objects(now: Mapping[str, Any], becomes: Mapping[str, Any], module: str) -> None:
    """Give functions their new code, and names their new values wherever they were imported."""
    for name, new in becomes.items():
        old = now.get(name)
        if isinstance(old, FunctionType) and isinstance(new, FunctionType):
            if old.__module__ == module:
                _of_function(old, new)
        elif isinstance(old, type) and isinstance(new, type) and old.__module__ == module:
            of_objects(vars(old), vars(new), module)
        elif isinstance(old, property) and isinstance(new, property):
            _of_function(old.fget, new.fget)
        elif not name.startswith("__") and repr(old) != repr(new) and not callable(new):
            for other in [*sys.modules.values()]:
                if vars(other).get(name) is old:
                    setattr(other, name, new)


def _of_function(old: Any, new: Any) -> None:
    while hasattr(old, "__wrapped__"):  # of a decorator, which keeps the function itself
        old, new = old.__wrapped__, new.__wrapped__
    if old.__code__.co_freevars == new.__code__.co_freevars and isinstance(new.__code__, CodeType):
        old.__code__ = new.__code__
        if repr(old.__defaults__) != repr(new.__defaults__):
            old.__defaults__ = new.__defaults__
        if repr(old.__kwdefaults__) != repr(new.__kwdefaults__):
            old.__kwdefaults__ = new.__kwdefaults__


def main(arguments: Sequence[str]) -> int:
    """Returns pytest's code. Answers come on stdout, a line of JSON each; what pytest says, on stderr."""
    answers = os.dup(1)
    os.dup2(2, 1)
    changes = [
        Change(**{**one, "touches": tuple(one["touches"])}) for one in json.loads(Path(arguments[0]).read_text())
    ]
    options = ["-q", "-p", "no:cacheprovider", "-m", "not torture and not stack and not containers and not chart"]
    return int(pytest.main([*options, *arguments[1:]], plugins=[Forked(changes, answers)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
