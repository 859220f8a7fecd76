"""Models: all that the dbt project reads and builds, by folder, and what the last run made of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from include.dbt_project.helpers import is_helper
from include.dbt_project.manifest import DataTest
from include.results.failures import BROKEN
from plugins.data_health import nodes, results, runs
from plugins.data_health.reading import Reading
from plugins.data_health.runs import Run


@dataclass(frozen=True)
class Tested:
    """How many of the data tests on something passed, warned and failed in the last run, and how many did not run."""

    passed: int
    warned: int
    failed: int
    not_run: int


@dataclass(frozen=True)
class Listed:
    """A model, snapshot, seed or source.

    `grain` is what one row is. Of the last run: `state` is dbt's word (success, error, skipped; of a source its
    freshness: pass, warn, fail), None where it had none; `rows` are those that it wrote, `seconds` what that took.
    """

    name: str
    kind: str
    grain: str
    state: str | None
    rows: int | None
    seconds: float | None
    tests: Tested

    @property
    def is_quiet_helper(self) -> bool:
        """Whether it is a helper of which nothing failed or warned."""
        quiet = self.state not in BROKEN and not self.tests.failed and not self.tests.warned
        return quiet and is_helper(self.name)


@dataclass(frozen=True)
class Folder:
    """A folder of the dbt project; all snapshots, and all sources, are in one."""

    name: str
    models: tuple[Listed, ...]

    @property
    def named(self) -> tuple[Listed, ...]:
        """Those that are no helpers, and helpers of which something failed or warned."""
        return tuple(model for model in self.models if not model.is_quiet_helper)

    @property
    def helpers(self) -> tuple[Listed, ...]:
        """The other helpers, which are shown on a click."""
        return tuple(model for model in self.models if model.is_quiet_helper)


@dataclass(frozen=True)
class Models:
    """All that the dbt project reads and builds. `run` is the last run, None before the first."""

    run: Run | None
    folders: tuple[Folder, ...]


def read(reading: Reading) -> Models:
    """The dbt project as it is now, with what the last run made of it."""
    facts, run = reading.facts, runs.newest(reading)
    words = results.last_words(reading, run.run_id) if run else {}
    names, tests = nodes.relations(facts), nodes.tests_by_node(facts)
    folders: dict[str, list[Listed]] = defaultdict(list)
    for unique_id in names:
        node = nodes.node(facts, unique_id)
        word = words.get(unique_id) or words.get(f"freshness.{unique_id}")
        folders[nodes.folder(facts, unique_id)].append(
            Listed(
                name=names[unique_id],
                kind=node["resource_type"],
                grain=nodes.grain(node.get("description")),
                state=word.status if word else None,
                rows=word.rows_affected if word else None,
                seconds=word.seconds if word else None,
                tests=_tested(tests[unique_id], words),
            )
        )
    return Models(run, tuple(Folder(name, _sorted(folders[name])) for name in sorted(folders, key=_order)))


def _tested(tests: list[DataTest], words: Mapping[str, Any]) -> Tested:
    states = [words[test.unique_id].status if test.unique_id in words else "skipped" for test in tests]
    return Tested(
        passed=states.count("pass"),
        warned=states.count("warn"),
        failed=sum(state in BROKEN for state in states),
        not_run=states.count("skipped"),
    )


def _order(folder: str) -> tuple[bool, bool, str]:
    """What people query first, then what leads there, then what it is made of."""
    return folder in ("snapshots", "seeds", "sources"), not folder.startswith("marts"), folder


def _sorted(models: list[Listed]) -> tuple[Listed, ...]:
    return tuple(sorted(models, key=lambda model: model.name))
