"""What `make mutants ARGS=python` changes, and that a module then does what it says, for all who import it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.mutants import forked, python
from tests.mutants.forked import Change

SOURCE = '''"""Where a < b and nobody looks."""
LIMIT = 1
_ASKED = "select n where a < b"


def ask(cursor: "where c < d", limit: int = LIMIT) -> int:
    log.info("select where e < f")
    if limit > 2:
        raise ValueError(f"select {limit} where g < h")
    cursor.execute(
        """
        select n
        where i < j
        """
    )
    return limit
'''


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ModuleType]]:
    """A module, and one that has imported its names."""
    (tmp_path / "decides.py").write_text(DECIDES)
    (tmp_path / "asks.py").write_text("from decides import LIMIT, Kept, above, held\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield [importlib.import_module(name) for name in ("decides", "asks")]
    for name in ("decides", "asks"):
        sys.modules.pop(name)


DECIDES = """
from contextlib import contextmanager

LIMIT = 3


def above(number, limit=LIMIT):
    return number > limit


@contextmanager
def held():
    yield LIMIT < 4


class Kept:
    @property
    def most(self):
        return LIMIT < 4

    def least(self):
        return LIMIT > 4
"""


def changed(source: str) -> list[tuple[str, str]]:
    return [(kind, source[:start] + text + source[end:]) for kind, start, end, text in python.own(source)]


def test_statements_are_left_out_and_sql_is_changed_but_no_words() -> None:
    kinds = {kind for kind, _ in changed(SOURCE)}
    texts = [text for _, text in changed(SOURCE)]
    assert kinds == {"statement", "SQL operator", "SQL filter"}
    for of_sql in ("where a <= b", "where i <= j"):
        assert sum(of_sql in text for text in texts) == 1
    assert all(words in text or "pass" in text for text in texts for words in ("c < d", "e < f", "g < h"))
    assert [text.count("pass") for kind, text in changed(SOURCE) if kind == "statement"] == [1, 1]


@pytest.mark.parametrize(
    ("at", "lines"),
    [
        ("i < j", range(10, 16)),
        ("limit > 2", range(8, 9)),
        ("= LIMIT", range(7, 17)),  # whenever the function is asked
        ("_ASKED", range(1, 17)),  # whatever of the module is
    ],
)
def test_a_test_that_may_notice_runs_a_line_of_the_statement(at: str, lines: range) -> None:
    assert python._Module(SOURCE).lines(SOURCE.index(at)) == lines


@pytest.mark.parametrize(
    ("was", "becomes", "asked", "answers"),
    [
        ("number > limit", "number >= limit", "above(3)", True),
        ("LIMIT = 3", "LIMIT = 5", "LIMIT", 5),
        ("LIMIT = 3", "LIMIT = 5", "Kept().least()", True),
        ("LIMIT = 3", "LIMIT = 5", "above(4)", False),
        ("yield LIMIT < 4", "yield not LIMIT < 4", "held().__enter__()", False),
        ("return LIMIT < 4", "return not LIMIT < 4", "Kept().most", False),
    ],
)
def test_who_has_imported_a_module_gets_what_it_becomes(
    modules: list[ModuleType], was: str, becomes: str, asked: str, answers: object
) -> None:
    forked._transplant(Change("a name", "decides.py", DECIDES.replace(was, becomes), ()))
    assert eval(asked, vars(modules[1])) == answers  # noqa: S307 - our own text
