"""Which part of the code may import which: arrows point one way, and nothing goes in a circle. And what it may keep."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT

FOLDERS = ("include", "plugins", "dags", "benchmarks")
# Grants on what the loaders own as well, so it stands above `include.raw`, which stands above the rest of its folder.
APART = "include.warehouse.roles"


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(PROJECT_ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def modules() -> dict[str, Path]:
    """Our modules by their names."""
    return {name_of(file): file for folder in FOLDERS for file in sorted((PROJECT_ROOT / folder).rglob("*.py"))}


def imported(file: Path) -> set[str]:
    """All that a module imports, inside its functions too; by absolute names."""
    package = name_of(file) if file.name == "__init__.py" else name_of(file).rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import(names=names):
                found |= {one.name for one in names}
            case ast.ImportFrom(module=module, names=names, level=level):
                source = resolve_name(f"{'.' * level}{module or ''}", package)
                members = {f"{source}.{one.name}" for one in names}
                found |= {one for one in members if one in modules()}
                found |= {source} if members - modules().keys() else set()
    return found


@cache
def arrows(folder: str) -> dict[str, set[str]]:
    """Each module of a folder, and all that it imports."""
    return {name: imported(file) for name, file in modules().items() if name.split(".")[0] == folder}


def circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Names that lead round to the first of them; [] where there is no such way."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def part_of(module: str) -> str:
    """The folder of `include/` that a module is in; itself where it is in none."""
    return module if module == APART else ".".join(module.split(".")[:2])


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circle(arrows("include")) == []


def test_what_makes_tasks_fast_knows_nothing_of_greenery() -> None:
    """It can be copied into another project as it is."""
    ours = {
        f"{name} imports {one}"
        for name, read in arrows("include").items()
        for one in read
        if name.startswith("include.fast_cosmos") and one.split(".")[0] in FOLDERS
        if not one.startswith("include.fast_cosmos")
    }
    assert ours == set()


def test_no_folder_of_include_imports_itself_by_way_of_others() -> None:
    parts: dict[str, set[str]] = {}
    for module, read in arrows("include").items():
        parts.setdefault(part_of(module), set()).update(part_of(one) for one in read)
    assert circle({part: read - {part} for part, read in parts.items()}) == []


@pytest.mark.parametrize(
    ("below", "above"),
    [
        ("include", "dags"),
        ("include", "plugins"),
        ("include", "tests"),
        ("include", "benchmarks"),
        ("benchmarks", "tests"),
        ("plugins", "dags"),
        ("include.dbt_project", "include.daily"),
        ("include.publish", "include.local"),
    ],
)
def test_arrows_point_one_way(below: str, above: str) -> None:
    against = {
        f"{name} imports {one}"
        for name, read in arrows(below.split(".")[0]).items()
        for one in read
        if f"{name}.".startswith(f"{below}.") and f"{one}.".startswith(f"{above}.")
    }
    assert against == set()


def test_what_is_kept_for_as_long_as_a_process_lives_has_a_limit() -> None:
    """`@cache` keeps an answer to each argument that it was ever asked with; one without arguments has one answer."""
    kept_for_good = [
        f"{name}.{function.name}"
        for name, file in modules().items()
        for function in ast.parse(file.read_text()).body
        if isinstance(function, ast.FunctionDef) and ast.unparse(function.args)
        if {ast.unparse(one) for one in function.decorator_list}
        & {"cache", "functools.cache", "lru_cache(maxsize=None)"}
    ]
    assert kept_for_good == []
