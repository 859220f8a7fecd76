"""`make mutants`: changes what models and macros say, one thing at a time, and tells what nothing notices.

ARGS: names of models, macros or mutants (all without one); `--sample 60 --seed 1` draws some of them; `--list` tells
what they are and judges none; `python` judges the Python that publishes instead. It goes on where it was stopped, as
long as no file was changed.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from random import Random

import pytest

from tests import conftest

conftest.pytest_configure()  # before anything imports Airflow

from include.command_line import log_to_stderr  # noqa: E402
from include.dbt_project import release  # noqa: E402
from include.local import postgres  # noqa: E402
from include.local.progress import Progress  # noqa: E402
from include.settings import PROJECT_ROOT  # noqa: E402
from tests import in_memory  # noqa: E402
from tests.dbt.conftest import PROJECT, WAREHOUSE, KeptShop  # noqa: E402
from tests.dbt.days import Project  # noqa: E402
from tests.lean_dbt import lean  # noqa: E402
from tests.mutants import excuses, python  # noqa: E402
from tests.mutants.change import Mutant  # noqa: E402
from tests.mutants.copied import asked_of_tests  # noqa: E402
from tests.mutants.forked import Change  # noqa: E402
from tests.mutants.judge import (  # noqa: E402
    BROKEN,
    CAUGHT,
    LEFT_OUT,
    LOOKED_AT,
    SAME,
    SUITE,
    SURVIVED,
    Judge,
    Verdict,
    all_mutants,
    change,
    models_of,
    takes_days,
    tests_of,
    texts,
)
from tests.resume import files  # noqa: E402

JUDGED = PROJECT_ROOT / ".local" / "mutants.jsonl"
AT_A_TIME = 40


def main(arguments: Sequence[str]) -> int:
    """Returns 1 where a mutant survived that nobody has looked at, or whose text has changed since."""
    asked = _asked(arguments)
    log_to_stderr()
    logging.disable(logging.INFO)  # what each run of each day says
    if "python" in asked.names:
        asked.names.remove("python")
        chosen = _chosen(python.all_mutants(), asked)
        parts = {module: python.parts((PROJECT_ROOT / module).read_text()) for module in python.MODULES}
        return _told(chosen, parts, asked, lambda left: _by_tests(map(python.change, left), python.TESTS))
    with lean(), _project() as project:
        chosen = _chosen(all_mutants(project.manifest), asked)
        whole = {name: [text] for name, text in texts(project.manifest).items()}
        return _told(chosen, whole, asked, lambda left: _judged(project, left))


def _judged(project: Project, left: list[Mutant]) -> Iterator[Verdict]:
    """The verdicts on models and macros; what only tests of the suite can judge comes last."""
    manifest = project.manifest
    of_suite = [one for one in left if not models_of(manifest, one) and not takes_days(manifest, one)]
    if left := sorted((one for one in left if one not in of_suite), key=lambda one: takes_days(manifest, one)):
        by_name = {one.name: one for one in left}
        with _court(project) as judge:
            for begin in range(0, len(left), AT_A_TIME):
                for verdict in judge.judge(left[begin : begin + AT_A_TIME]):
                    if verdict.became == LEFT_OUT:
                        of_suite.append(by_name[verdict.mutant])
                    else:
                        yield verdict
    if of_suite:
        changes = (change(manifest, one) for one in of_suite)
        yield from _by_tests(changes, tests_of(manifest, of_suite))


def _by_tests(changes: Iterable[Change], tests: Sequence[str]) -> Iterator[Verdict]:
    for name, asked, noticed in asked_of_tests([*changes], tests):
        detail = noticed or (f"{asked} tests that touch it pass" if asked else "no test touches it")
        yield Verdict(name, SUITE if noticed else SURVIVED, detail)


def _told(
    chosen: list[Mutant],
    parts: excuses.Texts,
    asked: argparse.Namespace,
    judged: Callable[[list[Mutant]], Iterator[Verdict]],
) -> int:
    """Judge what is not judged yet, and tell of all."""
    shown = {one.name: excuses.line(one, parts[one.node]) for one in chosen}
    if asked.list:
        print("\n".join(f"{name} {line}" for name, line in shown.items()))
        return 0
    kept = _Kept()
    if left := [one for one in chosen if one.name not in kept.verdicts]:
        for verdict in judged(left):
            kept.add(verdict)
            print(f"{verdict.mutant}: {verdict.became} {verdict.detail}", flush=True)
    excused = excuses.lines()
    verdicts = [_looked_at(kept.verdicts[one.name], shown[one.name], excused) for one in chosen]
    print(table(chosen, verdicts))
    survivors = [one for one in verdicts if one.became == SURVIVED]
    for one in survivors:
        print(f"\n{one.mutant} {shown[one.mutant]}\n  {one.detail}")
    if refused := excuses.refused(excused, {one.node: parts[one.node] for one in chosen}):
        print(f"\n{refused}")
    return 1 if survivors or refused else 0


def _asked(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="models, macros or mutants; all without one; or python")
    parser.add_argument("--sample", type=int, help="how many of them, drawn by --seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="tell what they are, and judge none")
    return parser.parse_args(arguments)


def _chosen(mutants: list[Mutant], asked: argparse.Namespace) -> list[Mutant]:
    """The first mutant of each model and macro, then the second of each: such are judged together."""
    chosen = [one for one in mutants if not asked.names or {one.name, one.node, Path(one.node).stem} & {*asked.names}]
    if not chosen:
        raise SystemExit(
            f"There is no model, macro or mutant called {', '.join(asked.names)}. --list tells all mutants."
        )
    if asked.sample:
        chosen = Random(asked.seed).sample(chosen, min(asked.sample, len(chosen)))  # noqa: S311 - no secret
        chosen.sort(key=lambda one: one.name)
    turns = [(turn, one) for _, group in groupby(chosen, lambda one: one.node) for turn, one in enumerate(group)]
    return [one for _, one in sorted(turns, key=lambda turn: turn[0])]


def _looked_at(verdict: Verdict, shown: str, excused: Collection[str]) -> Verdict:
    """A survivor that somebody has looked at changes nothing that anybody asks."""
    if verdict.became == SURVIVED and shown in excused:
        return Verdict(verdict.mutant, LOOKED_AT)
    return verdict


def table(mutants: Sequence[Mutant], verdicts: Sequence[Verdict]) -> str:
    """What became of the mutants, by kind and by model."""
    became = {one.mutant: one.became for one in verdicts}
    columns = [name for name in (BROKEN, SAME, LOOKED_AT, *CAUGHT, SURVIVED) if name in became.values()]
    lines = [f"| | made | {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) + 1)]
    for by in (lambda one: one.kind), (lambda one: one.node), (lambda _: "all"):
        for name in sorted({by(one) for one in mutants}):
            counts = Counter(became[one.name] for one in mutants if by(one) == name)
            lines.append(f"| {name} | {counts.total()} | {' | '.join(str(counts[one] or '') for one in columns)} |")
    all_of = Counter(became.values())
    caught = sum(all_of[name] for name in CAUGHT)
    meaningful = caught + all_of[SURVIVED]
    rate = f" ({caught / meaningful:.1%})" if meaningful else ""
    others = "".join(f"; {all_of[name]} {name}" for name in (SAME, LOOKED_AT) if all_of[name])
    return "\n".join([*lines, "", f"{caught} of {meaningful} that change a result are caught{rate}{others}."])


class _Kept:
    """The verdicts so far, a line each, as long as no file was changed."""

    def __init__(self) -> None:
        self.verdicts: dict[str, Verdict] = {}
        now, lines = files(PROJECT_ROOT), JUDGED.read_text().splitlines() if JUDGED.exists() else []
        if lines[:1] == [now]:
            self.verdicts = {one.mutant: one for one in (Verdict(**json.loads(line)) for line in lines[1:])}
        else:
            JUDGED.parent.mkdir(exist_ok=True)
            JUDGED.write_text(f"{now}\n")

    def add(self, verdict: Verdict) -> None:
        self.verdicts[verdict.mutant] = verdict
        with JUDGED.open("a") as file:
            file.write(json.dumps(asdict(verdict)) + "\n")


@contextmanager
def _project() -> Iterator[Project]:
    """The project as a release has it, parsed."""
    with in_memory.folder("greenery-mutants-") as home, pytest.MonkeyPatch.context() as environment:
        environment.setenv("WAREHOUSE_DB", WAREHOUSE)
        shutil.copytree(PROJECT, home / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
        release.write_macros_hash(home / "dbt")
        project = Project(home / "dbt", home)
        # What dbt says is no answer.
        with Progress().step("Parsing the project"), redirect_stdout(sys.stderr):
            project.parse()
        yield project


@contextmanager
def _court(project: Project) -> Iterator[Judge]:
    """A judge with a Postgres of its own."""
    with (
        in_memory.folder("greenery-mutants-") as home,
        postgres.serving(home / "postgres", conftest.FORGETFUL) as server,
        pytest.MonkeyPatch.context() as environment,
    ):
        for key, value in server.database(WAREHOUSE).environment().items():
            environment.setenv(key, value)
        shop = KeptShop(server)
        with Progress().step("Building a sound shop, and one of odd days"), redirect_stdout(sys.stderr):
            judge = Judge(shop, project, home)
        yield judge
        shop.connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
