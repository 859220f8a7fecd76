"""What one dbt builds ahead of a run's tasks: a task takes its word only for what is well, and else builds for itself.

Where Cosmos' WATCHER failed is in the names of the tests: tables unbuilt under green tasks (its issue 2698), a fallback
that nothing reached (2947).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import SimpleNamespace

import pytest
from psycopg2.extensions import connection as Connection

from include.daily import DAG_ID, ahead, buffers
from include.daily.admission import RefusedError
from include.daily.operators import BuildAhead, BuildNode
from include.daily.warm_up import WARM_UP
from include.dbt_project.manifest import Manifest
from include.demo_shop import demo
from include.fast_cosmos.ahead import Done
from include.fast_cosmos.operators import arguments
from include.fast_cosmos.releases import Release
from include.results import hooks, node_results, runs
from include.results.nodes import NodeResult
from include.warehouse import connect

pytestmark = pytest.mark.db

RUN = "run"
LIMIT_SECONDS = 20
END_WITHOUT = ahead._end_without
TASKS = {name: f"transform.models.{name}_model_build" for name in ("one", "two")}
Play = Callable[[Callable[[Pipe], None]], tuple[ForkProcess, Pipe]]


@pytest.fixture(autouse=True)
def _on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(ahead, "_facts", lambda *_: FACTS)
    # A test that fails in a block would have this process end with its database.
    monkeypatch.setattr(ahead, "_end_without", lambda *_: None)


@pytest.fixture
def begun(db: Connection) -> Connection:
    """A warehouse in which a run has begun to build."""
    demo.play_day(db, 1, orders_per_day=3)
    runs.begin(db, RUN, "release")
    buffers.begin(db, RUN)
    return db


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Tasks that wait."""
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.fixture
def one_dbt(begun: Connection, pool: ThreadPoolExecutor) -> Iterator[Play]:
    """Plays the one dbt in a process of its own, up to its first word by the pipe; what is left of it is killed."""
    forks, played = get_context("fork"), []

    def play(work: Callable[[Pipe], None]) -> tuple[ForkProcess, Pipe]:
        ours, its = forks.Pipe()
        played.append(forks.Process(target=_in_its_process, args=(work, its), daemon=True))
        played[-1].start()
        assert ours.poll(LIMIT_SECONDS)
        return played[-1], ours

    yield play
    for process in played:
        process.kill()  # before the pool waits for tasks that would wait for it
        process.join()


def _in_its_process(work: Callable[[Pipe], None], said: Pipe) -> None:
    ahead._end_without = END_WITHOUT  # this process may end of it
    work(said)


def _node(kind: str, name: str, *parents: str, schema: str = "analytics_next") -> SimpleNamespace:
    return SimpleNamespace(
        unique_id=f"{kind}.shop.{name}",
        resource_type=kind,
        name=name,
        original_file_path=f"models/{name}.sql",
        depends_on={"nodes": list(parents)},
        config=SimpleNamespace(severity="ERROR", error_if="!= 0", materialized="table"),
        compiled_code=f"select of {name}",
        schema=schema,
    )


NODES = {
    node.unique_id: node
    for node in (
        _node("model", "view", schema="staging"),
        _node("model", "one"),
        _node("model", "two", "model.shop.one"),
        _node("test", "one_is_odd", "model.shop.one"),
        _node("test", "two_is_even", "model.shop.two"),
    )
}
FACTS = Manifest({key: {**vars(node), "config": vars(node.config)} for key, node in NODES.items()}, {})


def task(name: str = "one", attempt: int = 1) -> SimpleNamespace:
    """What a worker asks for."""
    return SimpleNamespace(dag_id=DAG_ID, task_id=TASKS[name], run_id=RUN, try_number=attempt)


def said(status: str) -> SimpleNamespace:
    """dbt's word on a node."""
    return SimpleNamespace(
        status=status, message="SELECT 3", execution_time=0.1, num_failures=0, adapter_response={"rows_affected": 3.0}
    )


def built(**statuses: str) -> None:
    """One dbt builds these nodes, and is over."""
    with ahead.building(RUN) as connection:
        assert connection, "tried before"
        tell(connection, **statuses)


def tell(connection: Connection, **statuses: str) -> None:
    keeper = ahead.Keeper(connection, RUN, FACTS, NODES)
    for name, status in statuses.items():
        kind = "test" if "_is_" in name else "model"
        keeper.ended(f"{kind}.shop.{name}", said(status))


def came(waiting: Future[Done | None]) -> Done | None:
    return waiting.result(LIMIT_SECONDS)


def waits(waiting: Future[Done | None]) -> bool:
    """Whether a task still waits after it has looked a few times."""
    with pytest.raises(TimeoutError):
        waiting.result(0.5)
    return True


def test_a_task_whose_node_and_tests_are_well_is_done_and_kept_as_if_it_had_run(begun: Connection) -> None:
    built(one="success", one_is_odd="warn")
    done = ahead.done(task())
    assert done
    assert "model.shop.one: success, SELECT 3, 0.10 s" in done.log
    assert done.rendered == {"compiled_sql": "-- one\nselect of one\n\n-- one_is_odd\nselect of one_is_odd"}
    assert {(one.unique_id, one.status, one.rows_affected) for one in node_results.of_run(begun, RUN)} == {
        ("model.shop.one", "success", 3),
        ("test.shop.one_is_odd", "warn", None),
    }
    assert set(node_results.tasks(begun, RUN).values()) == {TASKS["one"]}


@pytest.mark.usefixtures("begun")
def test_a_task_waits_for_its_own_node_and_not_for_the_others(pool: ThreadPoolExecutor) -> None:
    one, two = pool.submit(ahead.done, task("one")), pool.submit(ahead.done, task("two"))
    with ahead.building(RUN) as connection:
        tell(connection, one="success", one_is_odd="pass")
        assert came(one)
        assert waits(two)
    assert came(two) is None


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize(
    "statuses",
    [
        {"one": "error"},
        {"one": "success"},
        {"one": "success", "one_is_odd": "fail"},
        {"one": "success", "one_is_odd": "skipped"},
        {"one_is_odd": "pass"},
        {"one": "no-op", "one_is_odd": "pass"},
    ],
)
def test_no_task_is_green_whose_node_or_test_is_not_well(statuses: dict[str, str]) -> None:
    built(**statuses)
    assert ahead.done(task()) is None


@pytest.mark.usefixtures("begun")
def test_a_task_builds_for_itself_only_when_the_one_dbt_is_over(pool: ThreadPoolExecutor) -> None:
    with ahead.building(RUN) as connection:
        tell(connection, one="success", one_is_odd="fail")
        failed, itself = pool.submit(ahead.done, task()), pool.submit(ahead.wait_until_over, RUN)
        assert waits(failed)
        assert waits(itself)
    assert came(failed) is None
    assert came(itself) is None


def _build_for_ever(said: Pipe) -> None:
    with ahead.building(RUN) as connection:
        tell(connection, one="success", one_is_odd="pass")
        said.send("built one")
        said.recv()


def test_a_dbt_that_loses_its_lock_ends_and_leaves_its_tasks_to_themselves(
    begun: Connection, pool: ThreadPoolExecutor, one_dbt: Play
) -> None:
    """As one that is killed does: dbt would go on beside the tasks, and build what they build."""
    building, _ = one_dbt(_build_for_ever)
    two = pool.submit(ahead.done, task("two"))
    assert waits(two)
    with begun.cursor() as cursor:
        cursor.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'greenery ahead: lock' and datname = current_database()"
        )
        assert cursor.rowcount == 1
    building.join(LIMIT_SECONDS)
    assert building.exitcode == 1
    assert came(two) is None
    assert ahead.done(task("one")), "what was well done before it died stays so"


def _build_and_write_for_ever(said: Pipe) -> None:
    with ahead.building(RUN), connect("dbt") as dbt, dbt.cursor() as cursor:
        cursor.execute("create table analytics_next.two ()")
        said.send("writing two")
        said.recv()
        dbt.commit()


@pytest.mark.torture
def test_a_dbt_that_is_frozen_keeps_no_later_try_and_no_table_from_its_tasks_and_ends_when_it_wakes(
    begun: Connection, pool: ThreadPoolExecutor, one_dbt: Play
) -> None:
    building, _ = one_dbt(_build_and_write_for_ever)
    itself = pool.submit(ahead.wait_until_over, RUN)
    assert waits(itself)
    os.kill(building.pid, signal.SIGSTOP)
    with connect("dbt") as anas, anas.cursor() as cursor:
        cursor.execute("create schema branch_ana; create table branch_ana.two ()")
        assert came(pool.submit(_try_again)) is None, "its tasks build"
        cursor.execute("select 'somebody else goes on'")
    assert came(itself) is None
    with begun.cursor() as cursor:
        cursor.execute("set lock_timeout = '2min'; create table analytics_next.two ()")
    os.kill(building.pid, signal.SIGCONT)
    building.join(LIMIT_SECONDS)
    assert building.exitcode == 1


def _try_again() -> Connection | None:
    with ahead.building(RUN) as connection:
        return connection


def _raise_with_dbt_at_work(said: Pipe) -> None:
    with suppress(TimeoutError), ahead.building(RUN):
        raise TimeoutError  # in the main thread, as Airflow does; dbt's threads hear nothing of it
    said.send("raised")
    said.recv()


def test_an_error_in_the_main_thread_frees_no_task_while_the_process_is_there(
    pool: ThreadPoolExecutor, one_dbt: Play
) -> None:
    building, ours = one_dbt(_raise_with_dbt_at_work)
    itself = pool.submit(ahead.wait_until_over, RUN)
    assert waits(itself)
    ours.send("end")
    assert came(itself) is None
    building.join(LIMIT_SECONDS)
    assert building.exitcode == 0


@pytest.mark.parametrize(
    ("node", "is_marked"), [("model.shop.view", False), ("test.shop.one_is_odd", False), ("model.shop.one", True)]
)
def test_the_buffer_is_marked_before_the_first_model_is_built_into_it(
    begun: Connection, node: str, is_marked: bool
) -> None:
    """And not by what is built elsewhere: where that fails, the next run goes on from what is there."""
    with ahead.building(RUN) as connection:
        ahead.Keeper(connection, RUN, FACTS, NODES).began(node)
        with begun.cursor() as cursor:
            cursor.execute("select dirty from ops.buffers")
            assert cursor.fetchall() == [(is_marked,)]


def test_a_hook_after_all_models_that_never_ends_is_kept_as_failed(begun: Connection) -> None:
    """No task runs it again. Where a model is left, its task runs it."""
    hook = SimpleNamespace(unique_id="operation.shop.end", resource_type="operation", name="end", tags=["on-run-end"])
    with ahead.building(RUN) as connection:
        assert connection
        keeper = ahead.Keeper(connection, RUN, FACTS, NODES | {hook.unique_id: hook})
        *first, last = (one for one in NODES if one.startswith(("model", "test")))
        for one in first:
            keeper.ended(one, said("success"))
        assert hooks.problem(begun, RUN) is None
        keeper.ended(last, said("fail"))
    assert "end has not run to its end" in (hooks.problem(begun, RUN) or "")


@pytest.mark.usefixtures("begun")
def test_where_no_dbt_begins_the_tasks_build_and_none_begins_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "BEGIN_SECONDS", 0)
    assert ahead.done(task()) is None
    with ahead.building(RUN) as connection:
        assert connection is None


@pytest.mark.usefixtures("begun")
def test_no_task_waits_for_a_dbt_that_is_refused(
    pool: ThreadPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))  # in which no release is
    one = BuildAhead(task_id=ahead.TASK, **arguments(Release(tmp_path, "greenery", "warehouse")))
    with pytest.raises(RefusedError):
        one.execute(
            {
                "run_id": RUN,
                "ti": SimpleNamespace(task_id=ahead.TASK, try_number=1),
                "dag_run": SimpleNamespace(start_date=None),
            }
        )
    assert came(pool.submit(ahead.done, task())) is None


@pytest.mark.usefixtures("begun")
def test_a_second_try_of_the_one_dbt_builds_nothing() -> None:
    built(one="success", one_is_odd="pass")
    with ahead.building(RUN) as connection:
        assert connection is None
    assert ahead.done(task())


@pytest.mark.usefixtures("begun")
def test_a_retried_or_cleared_task_builds_for_itself() -> None:
    built(one="success", one_is_odd="pass")
    assert ahead.done(task(attempt=2)) is None


@pytest.mark.parametrize("attempt", [1, 2])
def test_what_comes_after_a_task_that_built_for_itself_builds_for_itself(begun: Connection, attempt: int) -> None:
    """A test of it failed ahead that dbt waits for nowhere, or it was cleared: publish wants them in order."""
    built(one="success", one_is_odd="pass", two="success", two_is_even="pass")
    assert ahead.done(task("two"))
    again = NodeResult("model.shop.one", "model", "one", "success", None, None, None, 0.1, 3)
    node_results.record(begun, RUN, TASKS["one"], attempt, [again])
    assert ahead.done(task("two")) is None


def test_a_retry_of_what_a_task_does_not_read_is_nothing_to_it(begun: Connection) -> None:
    built(one="success", one_is_odd="pass", two="success", two_is_even="pass")
    again = NodeResult("model.shop.two", "model", "two", "success", None, None, None, 0.1, 3)
    node_results.record(begun, RUN, TASKS["two"], 2, [again])
    assert ahead.done(task("one"))


def test_what_was_built_before_the_run_began_anew_counts_for_nothing(begun: Connection) -> None:
    built(one="success", one_is_odd="pass")
    buffers.begin(begun, RUN)
    assert ahead.done(task()) is None


def test_where_raw_was_loaded_since_the_task_runs_and_is_refused(begun: Connection) -> None:
    built(one="success", one_is_odd="pass")
    demo.play_day(begun, 2, orders_per_day=3)
    assert ahead.done(task()) is None


def test_no_other_task_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a task that builds nothing, or one of another DAG; none asks the warehouse."""
    monkeypatch.setattr(ahead, "connect", None)
    assert WARM_UP.done(SimpleNamespace(dag_id="theirs", task_id=TASKS["one"], run_id=RUN, try_number=1)) is None
    other = SimpleNamespace(dag_id=DAG_ID, task_id="publish", run_id=RUN, try_number=1)
    assert WARM_UP.done(other) is None


@pytest.mark.usefixtures("begun")
def test_no_task_waits_in_the_queue_until_another_worker_is_given_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "QUEUED_SECONDS", 0)
    with ahead.building(RUN) as connection:
        assert WARM_UP.done(task()) is None
        tell(connection, one="success", one_is_odd="pass")
        assert WARM_UP.done(task())


@pytest.mark.usefixtures("begun")
def test_a_task_that_waited_in_its_own_process_builds_nothing_that_is_built() -> None:
    built(one="success", one_is_odd="pass")
    here = Path(__file__).parent
    node = BuildNode(task_id=TASKS["one"], **arguments(Release(here, "greenery", "warehouse")))
    assert node.build_and_run_cmd({"ti": task(), "run_id": RUN}) is None
    assert node.compiled_sql.startswith("-- one\n")


@pytest.mark.usefixtures("begun")
def test_those_that_wait_are_woken(pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """WATCHER's tasks poll, and it gains nothing from more than eight threads (2657)."""
    monkeypatch.setattr(ahead, "LOOK_SECONDS", 10 * LIMIT_SECONDS)
    with ahead.building(RUN) as connection:
        waiting = [pool.submit(ahead.done, task("two")) for _ in range(3)]
        assert waits(waiting[0])
        tell(connection, two="success", two_is_even="pass")
        assert all(came(one) for one in waiting)
        rest = pool.submit(ahead.done, task("one"))
        assert waits(rest)
    assert came(rest) is None


@pytest.mark.usefixtures("begun")
def test_a_word_that_comes_while_a_task_looks_wakes_it_too(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres sends it with the answer to what is asked just then, and nothing comes afterwards."""
    monkeypatch.setattr(ahead, "LOOK_SECONDS", 10 * LIMIT_SECONDS)
    look = ahead._done
    with ahead.building(RUN) as connection:

        def late(asked: Connection, of: SimpleNamespace) -> Done | None:
            found = look(asked, of)
            if not found:
                tell(connection, one="success", one_is_odd="pass")
                asked.cursor().execute("select")
            return found

        monkeypatch.setattr(ahead, "_done", late)
        assert came(pool.submit(ahead.done, task()))
