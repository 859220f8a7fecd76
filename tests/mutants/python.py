"""What somebody may write wrongly in the Python that decides what is published, and in the SQL in its quotes.

cosmic-ray changes operators, comparisons, conditions, numbers and exceptions; `change.py` the SQL; and each statement
that only does something is left out. cosmic-ray is no dependency: uv fetches it when it is asked for.
"""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from include.settings import PROJECT_ROOT
from tests.mutants.change import Mutant, mutants
from tests.mutants.forked import Change

# The tests that are about what decides. Those that build with dbt as well take too long to be asked of each mutant.
TESTS = (
    "tests/include/publish",
    "tests/include/raw/test_lease.py",
    "tests/include/results/test_trust.py",
    "tests/include/daily/test_admission.py",
    "tests/include/daily/test_buffers.py",
    "tests/include/dbt_project/test_archive.py",
)
MODULES = (
    "include/publish/gate.py",
    "include/publish/exchange.py",
    "include/daily/buffers.py",
    "include/daily/followed.py",
    "include/daily/admission.py",
    "include/raw/lease.py",
)
COSMIC_RAY = (sys.executable, "-m", "uv", "tool", "run", "--quiet", "--from", "cosmic-ray==8.7.0", "python", "-c")
# Not `a | b`, which is mostly a type in these modules, nor `*`, which says that what follows is named, nor decorators.
# Other operators on sets, and an order of what is no number, are errors wherever they are run. `is` and `==` are alike.
_WANTED = re.compile(
    r"AddNot|Replace(Unary|True|False|And|Or|Break|Continue)|NumberReplacer|ExceptionReplacer|ZeroIterationForLoop"
    r"|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Sub_BitOr|BitAnd_Sub|BitAnd_BitOr)$"
    r"|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Is_IsNot|IsNot_Is|In_NotIn|NotIn_In)$"
)
_ALL_OF_COSMIC_RAY = """
import json, re, sys
from cosmic_ray import mutating, plugins
from cosmic_ray.ast import ast_nodes, get_ast

found = []
for file in sys.argv[2:]:
    source = open(file).read()
    for name in plugins.operator_names():
        kind = plugins.get_operator(name)
        if kind.arguments() or not re.search(sys.argv[1], name):
            continue
        positions = [one for node in ast_nodes(get_ast(source)) for one in kind().mutation_positions(node)]
        for occurrence, (start, _) in enumerate(positions):
            found.append((file, name.split("/")[1], start, mutating.mutate_code(source, kind(), occurrence)))
print(json.dumps(found))
"""
# What SQL in quotes begins with; a part of a statement does, too.
_SQL = re.compile(r"\s*(select|insert|update|delete|with|exists|lock|create|alter|drop|set|comment|analyze|union)\b")


# Its kind, beginning, end, and what takes its place.
_Change = tuple[str, int, int, str]


def all_mutants(modules: Sequence[str] = MODULES) -> list[Mutant]:
    """In the order of the modules, each kind in the order of the lines."""
    done = subprocess.run(
        [*COSMIC_RAY, _ALL_OF_COSMIC_RAY, _WANTED.pattern, *modules],
        cwd=PROJECT_ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    changed: dict[str, list[tuple[str, tuple[int, int], str]]] = {module: [] for module in modules}
    for module, operator, at, text in json.loads(done.stdout):
        changed[module].append((operator, tuple(at), text))
    found = []
    for module in modules:
        source = (PROJECT_ROOT / module).read_text()
        found += _numbered(module, source, [*_of_cosmic_ray(source, changed[module]), *own(source)])
    return found


def own(source: str) -> Iterator[_Change]:
    """What cosmic-ray does not change: kind, beginning, end, and what takes its place."""
    module = _Module(source)
    yield from module.statements()
    yield from ((f"SQL {one.kind}", one.start, one.end, one.text) for one in mutants("", module.only_sql()))


def parts(source: str) -> list[str]:
    """A module in parts, which an excuse of a mutant may be about: its outermost statements."""
    return _Module(source).parts()


def change(mutant: Mutant) -> Change:
    """The file with the mutant in it, and the lines that a test has to run to notice."""
    source = (PROJECT_ROOT / mutant.node).read_text()
    lines = _Module(source).lines(mutant.start)
    return Change(mutant.name, mutant.node, mutant.of(source), tuple(f"{mutant.node}:{line}" for line in lines))


def _of_cosmic_ray(source: str, changed: Sequence[tuple[str, tuple[int, int], str]]) -> Iterator[_Change]:
    module = _Module(source)
    for operator, (line, column), text in changed:
        if module.is_told(module.begins[line - 1] + column):
            continue
        start = next(at for at, (this, other) in enumerate(zip(source, text, strict=False)) if this != other)
        end = next(at for at, (this, other) in enumerate(zip(source[::-1], text[::-1], strict=False)) if this != other)
        end = min(end, len(source) - start, len(text) - start)
        yield operator, start, len(source) - end, text[start : len(text) - end]


def _numbered(module: str, source: str, changes: Iterable[_Change]) -> Iterator[Mutant]:
    seen, numbers = {source}, Counter[str]()
    for kind, start, end, text in changes:
        name = kind.split("_")[0]
        short = f"{Path(module).stem}.{name.replace(' ', '-')}.{numbers[name] + 1}"
        mutant = Mutant(module, name, short, start, end, text)
        if mutant.of(source) not in seen:
            seen.add(mutant.of(source))
            numbers[name] += 1
            yield mutant


@cache
class _Module:
    """A module's text, and what in it is what."""

    def __init__(self, source: str) -> None:
        self.source, self.tree = source, ast.parse(source)
        self.of_lines = source.splitlines(keepends=True)
        self.begins = [0, *accumulate(map(len, self.of_lines))]
        self.told = [self._span(told) for node in ast.walk(self.tree) for told in _told(node)]

    def is_told(self, at: int) -> bool:
        """Whether a place is in what is only said to people, in a type, or in a docstring."""
        return any(begin <= at < end for begin, end in self.told)

    def parts(self) -> list[str]:
        """The text of each outermost statement, with what stands above it, as a decorator does, or a comment."""
        ends = [self._span(node)[1] for node in self.tree.body]
        ends[-1] = len(self.source)
        return [self.source[begin:end] for begin, end in pairwise([0, *ends])]

    def statements(self) -> Iterator[_Change]:
        """Each statement that does something, or refuses, left out."""
        for node in ast.walk(self.tree):
            does = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Yield)
            if (does and not self.is_told(self._span(node)[0])) or isinstance(node, ast.Raise | ast.AugAssign):
                yield "statement", *self._span(node), "pass"

    def only_sql(self) -> str:
        """The text with nothing left of it but SQL in quotes, each character at its place."""
        sql = [
            self._span(node)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.JoinedStr | ast.Constant) and _SQL.match(_begins_with(node))
        ]
        read = ["\n" if letter == "\n" else "\0" for letter in self.source]
        for token in tokenize.generate_tokens(io.StringIO(self.source).readline):
            begin, end = (self.begins[line - 1] + column for line, column in (token.start, token.end))
            in_sql = token.type == tokenize.STRING and any(one <= begin and end <= other for one, other in sql)
            if in_sql and not self.is_told(begin):
                read[begin:end] = self.source[begin:end]
        return "".join(read)

    def lines(self, at: int) -> range:
        """The lines of the innermost statement at a place; all lines where that is run as the module is imported."""
        around = [
            node
            for node in ast.walk(self.tree)  # from outside in
            if isinstance(node, ast.stmt) and self._span(node)[0] <= at < self._span(node)[1]
        ]
        functions = [node for node in around if isinstance(node, ast.FunctionDef)]
        if not functions:
            return range(1, len(self.begins))
        inner = around[-1]
        body: list[ast.stmt] = getattr(inner, "body", [])
        if inner in functions:
            return range(body[0].lineno, (inner.end_lineno or 0) + 1)
        return range(inner.lineno, max(inner.lineno, body[0].lineno - 1 if body else inner.end_lineno or 0) + 1)

    def _span(self, node: ast.AST) -> tuple[int, int]:
        """Where a node begins and ends; the parser counts bytes."""

        def at(line: int, column: int) -> int:
            return self.begins[line - 1] + len(self.of_lines[line - 1].encode()[:column].decode())

        place: Any = node
        return at(place.lineno, place.col_offset), at(place.end_lineno, place.end_col_offset)


def _begins_with(text: ast.JoinedStr | ast.Constant) -> str:
    first = text.values[0] if isinstance(text, ast.JoinedStr) and text.values else text
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def _told(node: ast.AST) -> Iterator[ast.AST]:
    """What of a node nothing hangs on but what people read: types, docstrings, logs, and the words of an error."""
    match node:
        case ast.Expr(value=ast.Constant()):
            yield node
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="log")))):
            yield node
        case ast.Raise(exc=ast.Call(args=args)):
            yield from args
        case (
            ast.arg(annotation=ast.AST() as kind)
            | ast.AnnAssign(annotation=kind)
            | ast.FunctionDef(returns=ast.AST() as kind)
        ):
            yield kind
