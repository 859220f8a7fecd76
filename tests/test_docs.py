"""What the docs say is there: files, anchors, commands; and the runbook has a line for all that the code can say."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import pytest

from include.results.backups import Made
from include.results.failures import Failure, Root
from include.results.nodes import UNEXPLAINED
from include.results.publications import Decision
from include.settings import PROJECT_ROOT
from include.slack import notices, samples
from include.slack.message import Message
from include.slack.render import render

DOCS = sorted([*PROJECT_ROOT.glob("*.md"), *(PROJECT_ROOT / "docs").glob("*.md")])
RUNBOOK = PROJECT_ROOT / "docs" / "runbook.md"
# Those whose files the docs name, and what a reader is told to make in them.
FOLDERS = ("benchmarks", "dags", "dbt", "deploy", "docs", "include", "plugins", "tests")
TO_BE_MADE = {"dbt/raw_mapping.yml", "dbt/packages.yml", "dbt/seeds/my_seed.csv", "deploy/certificates/warehouse.crt"}
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MADE = Made("warehouse-20261124T120000Z", NOON, ("warehouse",), 1)


def prose(text: str) -> str:
    """A document without its blocks and pieces of code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.name)
def test_links_lead_to_a_file_and_a_heading_that_is_there(document: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.name)
def test_files_that_a_document_names_exist(document: Path) -> None:
    """Named in code by a path from the root of the project, whether it is a link or not."""
    named = set(re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`", document.read_text()))
    assert {name for name in named - TO_BE_MADE if not (PROJECT_ROOT / name).exists()} == set()


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.name)
def test_commands_that_a_document_names_exist(document: Path) -> None:
    """`make x` in code, and `python -m x` anywhere."""
    text = document.read_text()
    blocks = re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL)
    commands = re.findall(r"`([^`\n]+)`", text) + [line for block in blocks for line in block.splitlines()]
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {found[1] for line in commands if (found := re.match(r"\s*make ([a-z-]+)", line))} - targets == set()
    modules = {name.rstrip(".") for name in re.findall(r"python -m ((?:include|benchmarks)[\w.]*)", text)}
    assert {name for name in modules if not runs_as_a_command(name)} == set()


def test_the_readme_is_read_in_a_minute() -> None:
    assert len((PROJECT_ROOT / "README.md").read_text().splitlines()) <= 150


def test_every_page_is_reached_from_the_readme() -> None:
    readme = (PROJECT_ROOT / "README.md").read_text()
    pages = {f"docs/{page.name}" for page in (PROJECT_ROOT / "docs").glob("*.md")}
    assert {page for page in pages if f"]({page})" not in readme} == set()


def test_every_setting_is_in_the_example() -> None:
    example = set(re.findall(r"^(?:# )?([A-Z_0-9]+)=", (PROJECT_ROOT / ".env.example").read_text(), re.MULTILINE))
    read = re.findall(
        r'(?:environ(?:\.get\(|\[)|_number(?:_or_default)?\()"([A-Z_0-9]+)"',
        (PROJECT_ROOT / "include/settings.py").read_text(),
    )
    assert set(read) - example == set()


def runs_as_a_command(module: str) -> bool:
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return False
    if spec is not None and spec.submodule_search_locations is not None:
        spec = find_spec(f"{module}.__main__")
    return spec is not None and '__name__ == "__main__"' in Path(spec.origin).read_text()


# What the system says ------------------------------------------------------------------------------------------------

# Functions that say something to people without raising it.
SAYING = {
    "include/answers/answers.py": ("_problem",),
    "include/backup.py": ("_change_over",),
    "include/dbt_project/limits.py": ("problem", "_of_node", "_drops_with", "_as_task"),
    "include/daily/operators.py": ("keep", "build_and_run_cmd", "execute"),
    "include/daily/admission.py": ("_refusal",),
    "include/daily/snapshots.py": ("_problem",),
    "include/erase/__main__.py": ("_of_what_stayed",),
    "include/erase/erasure.py": ("_certificate_of_before",),
    "include/local/guard.py": ("end_what_was_left",),
    "include/preview/github.py": ("_tell_runner_alone",),
    "include/publish/beside_marts.py": ("stay", "point_to", "_is_lost"),
    "include/publish/exchange.py": ("_prune",),
    "include/publish/publish.py": ("publish_run",),
    "include/publish/on_marts.py": ("rights", "row_security", "comments_and_options", "left_behind"),
    "include/raw/csv_loader.py": ("_refused",),
    "include/results/failures.py": ("_way_out",),
    "include/results/hooks.py": ("problem",),
    "include/results/publications.py": ("lacking",),
    "include/results/trust.py": ("_taken",),
    "include/slack/render.py": ("unparsed", "unheard"),
    "include/daily/promise.py": ("risk", "_of_the_run"),
    "include/daily/watchdog.py": ("check", "main"),
    "include/warehouse/disk.py": ("problem",),
    "include/warehouse/migrate.py": ("main",),
    "include/warehouse/pooler.py": ("problem",),
    "include/warehouse/trust.py": ("problem",),
    "plugins/data_health/answering.py": ("_who_answers", "_refuse_others", "_refuse_longer"),
    "plugins/data_health/app.py": ("unreadable",),
    "plugins/data_health/reading.py": ("why_unreadable",),
}
# So few letters, all in all, say nothing by themselves: what is put in between does.
SAYS_LITTLE = 12
# SQL, and what our sessions are called.
NOT_FOR_PEOPLE = ("select ", "with ", "drop ", "create ", "alter ", "greenery ")
HEADLINES = {
    "late": lambda: notices.late(
        NOON, NOON, data_as_of=NOON, run_id=None, failed=False, held=None, url="", health_url=""
    ),
    "at_risk": lambda: notices.at_risk(NOON, "why", data_as_of=NOON, url="", health_url=""),
    "back": lambda: notices.back(NOON, NOON, NOON, url="", health_url=""),
    "down": lambda: notices.down(NOON, None, health_url=""),
    "up": lambda: notices.up(NOON, NOON, health_url=""),
    "backup_late": lambda: notices.backup_late(NOON, None, health_url=""),
    "backup_back": lambda: notices.backup_back(MADE, health_url=""),
    "progress": lambda: notices.progress("run", "models", url="", health_url=""),
    "decided": lambda: notices.decided(Decision(1, "hold", None, "ada", "why", NOON), None),
    "unreachable": lambda: notices.unreachable("run", "", None),
    "unreported": lambda: notices.unreported("run", "", None),
}
KINDS = ("source", "model", "snapshot", "test", "task")


def template(node: ast.AST) -> str:
    """A text as the code has it, with … for what is put in."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(map(template, parts))
    return "…"


def says(node: ast.AST) -> str:
    text = " ".join(template(node).split())
    return text if len(re.sub(r"\W", "", text)) >= SAYS_LITTLE else ""


def texts_of(path: Path, functions: tuple[str, ...]) -> Iterator[str]:
    """What is raised anywhere in a file, and what some of its functions say otherwise."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            yield says(node.exc.args[0])
        if isinstance(node, ast.FunctionDef) and node.name in functions:
            body = node.body[1:] if ast.get_docstring(node) else node.body
            whole = [part for statement in body for part in ast.walk(statement)]
            inner = {id(part) for text in whole if isinstance(text, ast.JoinedStr) for part in ast.walk(text)}
            for part in whole:
                if isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and id(part) not in inner):
                    text = says(part)
                    yield (text if " " in text and not text.lower().startswith(NOT_FOR_PEOPLE) else "")


@cache
def said() -> dict[str, str]:
    """Everything that people can be told, and where it comes from."""
    found = {UNEXPLAINED: "nodes.UNEXPLAINED"}
    found |= {message.headline: f"the sample {name}" for name, message in samples.messages().items()}
    found |= {make().headline: f"notices.{name}" for name, make in HEADLINES.items()}
    for kind in KINDS:
        failure = Failure("freshness" if kind == "source" else kind, "of_that_kind", "stale")
        message = render(replace(samples.FAILED, roots=(Root(kind, "raw.x" if kind == "source" else "x", (failure,)),)))
        found[message.headline] = f"what failed of kind {kind}"
        known = replace(failure, since=NOON, days=2)
        message = render(replace(samples.FAILED, roots=(Root(kind, "raw.x" if kind == "source" else "x", (known,)),)))
        found[message.headline] = f"what is known to fail of kind {kind}"
    for path in sorted(path for folder in ("include", "plugins") for path in (PROJECT_ROOT / folder).rglob("*.py")):
        name = str(path.relative_to(PROJECT_ROOT))
        found |= {text: name for text in texts_of(path, SAYING.get(name, ())) if text}
    return found


def entries() -> list[str]:
    """The first cell of each row of the runbook's tables."""
    rows = [line.strip("|").split("|") for line in RUNBOOK.read_text().splitlines() if line.startswith("| ")]
    return [first.strip() for first, *others in rows if len(others) == 2 and first.strip() != "it says"]


def fits(entry: str, text: str) -> bool:
    parts = [part for part in map(str.strip, entry.split("…")) if part]
    return re.search(".*".join(map(re.escape, parts)), text) is not None


def test_the_runbook_has_a_line_for_all_that_is_said() -> None:
    missing = {text: where for text, where in said().items() if not any(fits(entry, text) for entry in entries())}
    assert missing == {}


def test_the_runbook_has_no_line_for_what_nobody_says() -> None:
    assert [entry for entry in entries() if not any(fits(entry, text) for text in said())] == []


def test_no_line_of_the_runbook_fits_everything() -> None:
    assert [entry for entry in entries() if max(map(len, entry.split("…"))) < 5] == []


def test_every_notice_is_asked_for_its_headline() -> None:
    made = {
        name
        for name, function in inspect.getmembers(notices, inspect.isfunction)
        if not name.startswith("_")
        and function.__module__ == notices.__name__
        and inspect.signature(function).return_annotation in (Message, "Message")
    }
    assert made == HEADLINES.keys()


def test_the_functions_that_say_something_are_there() -> None:
    for name, functions in SAYING.items():
        tree = ast.parse((PROJECT_ROOT / name).read_text())
        assert set(functions) <= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, name
