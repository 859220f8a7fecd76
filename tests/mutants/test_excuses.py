"""That an excuse of a mutant holds for the very text that it was judged on, and those that there are."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import pytest
import yaml

from include.settings import PROJECT_ROOT
from tests.mutants import excuses, python
from tests.mutants.change import Mutant, mutants

MACRO = re.compile(r"\{%-? (?P<kind>macro|test) (?P<name>\w+)\(.*?\{%-? end(?P=kind) -?%\}", re.DOTALL)
CODE = "select b\nfrom c\nwhere d < e\n"
MODULE = "LIMIT = 1\n\n\n@cache\ndef most():\n    return 2\n\n\ndef least():\n    return 3\n"


@cache
def of_sql() -> dict[str, str]:
    """The text of each model and macro, by its name."""
    found = {file.stem: file.read_text() for file in (PROJECT_ROOT / "dbt" / "models").rglob("*.sql")}
    for file in (PROJECT_ROOT / "dbt").rglob("*.sql"):
        of_tests = {"test": "test_", "macro": ""}
        found |= {of_tests[one["kind"]] + one["name"]: one[0] for one in MACRO.finditer(file.read_text())}
    return found


@cache
def of_python() -> dict[str, str]:
    """The text of each module, by its name."""
    return {module: (PROJECT_ROOT / module).read_text() for module in python.MODULES}


def test_an_excuse_holds_as_long_as_the_text_is_the_same() -> None:
    excuse = excuses.line(next(mutants("a", CODE)), [CODE])
    assert re.fullmatch(r"a [0-9a-f]{8}: from c where d < e -> from c where true or d < e", excuse)
    assert excuses.refused([excuse], {"a": [CODE], "b": ["select 1"]}) == ""
    longer = f"{CODE}group by b\n"
    assert excuses.line(next(mutants("a", longer)), [longer]) != excuse, "it would excuse the mutant of another text"
    said, *outlived = excuses.refused([excuse], {"a": [longer]}).splitlines()
    assert said.startswith("The text around these mutants has changed since they were excused in equivalent.yml.")
    assert outlived == [excuse]


@pytest.mark.parametrize(
    ("was", "becomes", "holds"),
    [("return 3", "return 4", True), ("return 2", "return 4", False), ("@cache\n", "", False)],
)
def test_in_python_it_is_the_outermost_statement_that_has_to_stay(was: str, becomes: str, holds: bool) -> None:
    at = MODULE.index("2")
    excuse = excuses.line(Mutant("include/a.py", "", "", at, at + 1, "5"), python.parts(MODULE))
    changed = python.parts(MODULE.replace(was, becomes))
    assert "".join(changed) == MODULE.replace(was, becomes)
    assert (excuses.refused([excuse], {"include/a.py": changed}) == "") == holds


def test_each_excuse_has_its_reason_and_holds() -> None:
    assert all(excuse["because"] for excuse in yaml.safe_load(excuses.FILE.read_text()))
    texts = {name: [text] for name, text in of_sql().items()}
    texts |= {module: python.parts(source) for module, source in of_python().items()}
    assert excuses.refused(excuses.lines(), texts) == ""


def test_each_excuse_is_of_one_mutant() -> None:
    """A line that is said of two would excuse one that nobody has looked at."""
    made = Counter((name, one.shown(text)) for name, text in of_sql().items() for one in mutants(name, text))
    for line in excuses.lines():
        node, _hash, shown = line.split(maxsplit=2)
        if source := of_python().get(node):
            # It is cosmic-ray that makes most of Python's, which is not installed.
            assert shown.partition(" -> ")[0] in " ".join(source.split()), line
        else:
            assert made[node, shown] == 1, line
