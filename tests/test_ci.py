"""What CI runs is every test once: what `make check` runs, then what it leaves of `make test`."""

from __future__ import annotations

import re
import tomllib
from itertools import product

from _pytest.mark.expression import Expression

from include.settings import PROJECT_ROOT
from tests.conftest import WITHOUT_A_DATABASE


def test_ci_runs_each_test_of_make_test_once() -> None:
    settings = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    [check] = re.findall(r'^check:.*?-m "(.*?)"', (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE | re.DOTALL)
    [left] = re.findall(r"make test ARGS=\"-m '(.*?)'\"", (PROJECT_ROOT / ".ci" / "run").read_text())
    [whole] = re.findall(r"-m '(.*?)'", settings["addopts"])
    assert check == WITHOUT_A_DATABASE

    names = [marker.partition(":")[0] for marker in settings["markers"]]
    for chosen in product([True, False], repeat=len(names)):
        marks = {name for name, has in zip(names, chosen, strict=True) if has}
        in_check, in_left, in_test = (
            Expression.compile(one).evaluate(lambda name, *, marks=marks, **_: name in marks)
            for one in (check, left, whole)
        )
        if in_test:
            assert in_check is not in_left, marks
        else:
            assert not in_left, marks
