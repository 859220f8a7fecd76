"""dbt in this process, on a release of the project: nothing is copied, parsed a second time or written beside it."""

from __future__ import annotations

import copy
import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest
from dbt.events.types import NodeExecuting, NodeFinished, NodeStart
from dbt.mp_context import get_mp_context
from dbt_common.clients.jinja import template_cache
from dbt_common.events.base_types import BaseEvent, EventLevel, EventMsg
from dbt_common.events.event_manager import EventManager
from dbt_common.events.event_manager_client import ctx_set_event_manager, get_event_manager
from dbt_common.events.functions import env_scrubber

from . import scratch
from .releases import PARSED_WITH, ProjectError, Release, verify

log = logging.getLogger(__name__)


def say(event: EventMsg) -> None:
    """Print a line as dbt's own console does; that one looks for secrets in every line, shown or not."""
    print(f"{event.info.ts.ToDatetime():%H:%M:%S}  {env_scrubber(event.info.msg)}\n", end="")


def invoke(
    project: Release,
    command: Sequence[str],
    *,
    nodes: Collection[str] | None = None,
    tests: Collection[str] | None = (),
    unit_tests: Collection[str] = (),
    elsewhere: Mapping[str, tuple[str, str]] | None = None,
    populate_cache: bool = False,
    hear: Callable[[EventMsg], None] = say,
    began: Callable[[str], None] | None = None,
    ended: Callable[[str, Any], None] | None = None,
) -> dbtRunnerResult:
    """Run a dbt command (`build`, `test`, `source freshness`) on a release; its results are in the return value.

    `nodes` are the unique ids of the models, seeds and snapshots that it may build, None for all, `tests` those of the
    data tests that it may run, None for all, and `unit_tests` those of unit tests. dbt does not hear of others, but
    for what these read. `elsewhere` are nodes that are read from another relation (schema, name) than they
    would be built as, by their unique ids. `populate_cache` is for several models at once. `hear` is told of each of
    dbt's events; `began` of each node, by its unique id, right before dbt runs its SQL, and once more for each batch;
    `ended` of each node as it ends, with dbt's result. Threads of dbt's call these two.

    The manifest is the release's, loaded once a process and, where the warm-up has loaded it, not even that: forks
    inherit it. dbt's own files go to a folder that is gone afterwards. Raises ProjectError where the release can't be
    loaded.
    """
    lean = (
        # What is in the artifacts is in the return value.
        *("--no-write-json", "--log-level-file", "none", "--log-level", "none", "--no-use-colors"),
        # One model needs to know of a few relations: asked for as they come up, and not all of them beforehand. Where
        # several are built side by side, one could ask while another is half replaced.
        *(("--cache-selected-only",) if populate_cache else ("--no-populate-cache",)),
    )
    with scratch.folder() as folder:
        arguments = [*command, *lean, *_flags(project, folder)]
        whole = _read_from(load(project), elsewhere or {})
        asked = _with_tests(whole, tests, unit_tests)
        if nodes is not None:
            asked = _about(asked, nodes)
        dbt = dbtRunner(manifest=asked, callbacks=[hear])
        with without_debugging(began, ended), nameless_locks():
            return _from_a_low_stack(dbt.invoke, arguments)


def _read_from(whole: Manifest, elsewhere: Mapping[str, tuple[str, str]]) -> Manifest:
    """A manifest in which some nodes are other relations, for `ref` and for a macro that looks at `graph`.

    dbt's own way, `--defer` with a state, would leave `graph` as it was, and asks the warehouse for each of them.
    """
    if not elsewhere:
        return whole
    nodes = dict(whole.nodes)
    for unique_id, (schema, name) in elsewhere.items():
        node: Any = copy.copy(nodes[unique_id])
        node.schema, node.alias = schema, name
        node.relation_name = ".".join('"{}"'.format(part.replace('"', '""')) for part in (node.database, schema, name))
        nodes[unique_id] = node
    moved = replace(whole, nodes=nodes)
    moved.build_flat_graph()
    return moved


def _with_tests(whole: Manifest, tests: Collection[str] | None, unit_tests: Collection[str]) -> Manifest:
    """A manifest with these tests, and without what no task asks for.

    dbt links, orders and describes every node, in each invocation, and nine in ten are tests of other models. Models,
    snapshots and sources are all there, so `ref` and the selection of tests find what they would; so does a macro
    that looks at `graph`, which is the whole project's.
    """
    nodes = {
        key: node for key, node in whole.nodes.items() if node.resource_type != "test" or tests is None or key in tests
    }
    unasked: dict[str, Any] = {
        "unit_tests": {key: test for key, test in whole.unit_tests.items() if key in unit_tests},
        "exposures": {},
        "metrics": {},
        "semantic_models": {},
        "saved_queries": {},
    }
    return replace(whole, nodes=nodes, **unasked)


def _about(asked: Manifest, nodes: Collection[str]) -> Manifest:
    """A manifest with these nodes, its tests and hooks, and of all others what these read, as if that read nothing.

    In each invocation dbt describes every node twice, for a summary of its graph, and looks for all that is upstream of
    each: with hundreds of models that takes longer than to build one. `ref` and `source` find what they would.
    """
    known: Mapping[str, Any] = {**asked.nodes, **asked.unit_tests}
    left = [key for key, node in asked.nodes.items() if key in nodes or node.resource_type in ("test", "operation")]
    left += asked.unit_tests
    run, read = set(left), set()
    while left:
        reads = set(known[left.pop()].depends_on_nodes) - run
        read |= reads
        # An ephemeral model is part of what reads it.
        inner = {one for one in reads if one in known and known[one].config.materialized == "ephemeral"}
        run |= inner
        left += inner
    return replace(
        asked,
        nodes={key: node if key in run else _alone(node) for key, node in asked.nodes.items() if key in run | read},
        sources={key: source for key, source in asked.sources.items() if key in read},
        functions={key: _alone(function) for key, function in asked.functions.items()},
        _ref_lookup=_finding(asked.ref_lookup, asked),
        _source_lookup=_finding(asked.source_lookup, asked),
    )


def _alone(node: Any) -> Any:
    """A node that is there already, as one that reads nothing."""
    if not node.depends_on_nodes:
        return node
    alone = copy.copy(node)
    alone.depends_on = replace(node.depends_on, nodes=[])
    return alone


def _finding(lookup: Any, manifest: Manifest) -> Any:
    """What looks a name up, for another manifest than this one, in which it finds what it names."""
    other = copy.copy(lookup)
    other.perform_lookup = lambda unique_id, _: lookup.perform_lookup(unique_id, manifest)
    return other


class _WithoutDebugging(EventManager):
    """dbt's own, but for the nine events in ten that only a debugging log would hold.

    `began` and `ended` are told of what is in two of these. A node that is skipped starts and finishes as well, and
    executes nothing. A batch of a microbatch model starts and finishes under the model's own id, between the model's
    start and its finish.
    """

    def __init__(self, began: Callable[[str], None] | None, ended: Callable[[str, Any], None] | None) -> None:
        super().__init__()
        self._began, self._ended = began, ended
        self._started: Counter[str] = Counter()
        self._lock = Lock()

    def fire_event(
        self,
        e: BaseEvent,
        level: EventLevel | None = None,
        node: Any = None,
        force_warn_or_error_handling: bool = False,
    ) -> None:
        """Called for each event; dbt's words one before it asks whether anybody listens."""
        if self._began and isinstance(e, NodeExecuting):
            self._began(e.node_info.unique_id)
        if self._ended and isinstance(e, NodeStart | NodeFinished):
            unique_id = e.node_info.unique_id
            with self._lock:
                self._started[unique_id] += 1 if isinstance(e, NodeStart) else -1
                is_over = not self._started[unique_id]
            if is_over:
                self._ended(unique_id, e.run_result)
        if (level or e.level_tag()) not in (EventLevel.DEBUG, EventLevel.TEST):
            super().fire_event(e, level, node, force_warn_or_error_handling)


@contextmanager
def without_debugging(
    began: Callable[[str], None] | None = None, ended: Callable[[str, Any], None] | None = None
) -> Iterator[None]:
    """For the time of the block dbt words no event for debugging: nobody who calls it so would read one."""
    usual = get_event_manager()
    ctx_set_event_manager(_WithoutDebugging(began, ended))
    try:
        yield
    finally:
        ctx_set_event_manager(usual)


@contextmanager
def nameless_locks() -> Iterator[None]:
    """For the time of the block dbt makes its locks as for processes that it forks: without a name.

    A name is a file in /dev/shm, by which a process that dbt spawns would find the lock, and dbt spawns none. Python
    removes it as a process ends, but a forked task ends without that (`os._exit`), and so does one that is killed: the
    file would stay until the process ends that the task was forked from.
    """
    context = get_mp_context()
    context._name = "fork"  # by which Python decides, as it makes a lock
    try:
        yield
    finally:
        context._name = type(context)._name


def _from_a_low_stack(call: Callable[[list[str]], dbtRunnerResult], arguments: list[str]) -> dbtRunnerResult:
    """The same call from the bottom of a stack, that of a new thread.

    Each invocation of dbt describes its whole stack four times, with lines of source, to name the adapter's behaviour
    flags; below fifty frames of Airflow's that takes as long as a small model.
    """
    results: list[dbtRunnerResult] = []
    # A daemon: a process that ends does not wait for it.
    thread = Thread(target=lambda: results.append(call(arguments)), daemon=True)
    thread.start()
    thread.join()
    return results[0]


@lru_cache(maxsize=1)
def load(project: Release) -> Manifest:
    """dbt's manifest of a release. A release never changes, so what is kept can't go stale.

    Raises ProjectError where it was changed all the same, or dbt can't load it.
    """
    verify(project)
    log.info("Loading release %s of the dbt project", project.stamp)
    with scratch.folder() as folder, nameless_locks():
        parsed = project.path / "target" / "partial_parse.msgpack"
        done = dbtRunner().invoke(
            [
                *("--quiet", "parse", "--log-level-file", "none", "--no-write-json"),
                *("--partial-parse-file-path", str(parsed), *_flags(project, folder)),
            ]
        )
        if done.success and (files := _parsed_files(folder / "perf_info.json")):
            log.warning("%d files of release %s were parsed anew: dbt's settings differ here.", files, project.stamp)
    if not isinstance(done.result, Manifest):
        raise ProjectError(f"release {project.stamp} of the dbt project does not load: {done.exception}")
    return done.result


def rehearse(project: Release) -> None:
    """Run a dbt command that needs no warehouse: dbt writes code for its classes when it first uses them."""
    dbt = dbtRunner(manifest=load(project))
    with scratch.folder() as folder, nameless_locks():
        quiet = ("--log-level", "none", "--log-level-file", "none", "--no-write-json")
        command = ["list", "--output", "json", *quiet, *_flags(project, folder)]
        dbt.invoke(command)


def compile_macros(manifest: Manifest) -> None:
    """Compile the project's macros, dbt's own included, as each task would for itself; dbt keeps them by their text."""
    for macro in manifest.macros.values():
        template_cache.get_node_template(macro)


def _parsed_files(performance: Path) -> int:
    told = json.loads(performance.read_bytes())
    return sum(project["parsed_path_count"] for project in told["projects"])


def _flags(project: Release, written: Path) -> tuple[str, ...]:
    # The same as the release was parsed with: dbt throws a parse away whose flags differ.
    return (
        *("--project-dir", str(project.path), "--profiles-dir", str(project.path)),
        *("--profile", project.profile, "--target", project.target, *PARSED_WITH),
        *("--target-path", str(written), "--log-path", str(written)),
    )
