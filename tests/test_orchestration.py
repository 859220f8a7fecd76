"""The projects that `make bench BENCH=orchestration` makes up, its plan, how it tells what it measured."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter

import psutil
import pytest

from benchmarks import generated, orchestration, plan, processes, ways
from benchmarks.orchestration import Measured, Result, Timed
from benchmarks.plan import Part, Rounds
from benchmarks.processes import Memory, Processes
from include.local.postgres import LocalPostgres
from include.warehouse import connect


def layers(name: str) -> list[int]:
    """How many models there are in each layer: one more than the deepest that it reads."""
    depths: list[int] = []
    for model in generated.models(name):
        depths.append(1 + max((depths[one] for one in model.reads), default=0))
    return [number for _, number in sorted(Counter(depths).items())]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("20", [10, 10]),
        ("wide-300-slow", [75] * 4),
        ("deep-300", [4] * 75),
        ("fhir-real", [6, 24, 157]),
        ("mattermost", [85, 75, 38, 18, 11, 7, 6, 3, 5, 3, 2, 1]),
    ],
)
def test_a_project_has_the_layers_of_its_shape(name: str, expected: list[int]) -> None:
    assert layers(name) == expected


@pytest.mark.parametrize("name", dict.fromkeys(part.project for part in plan.PARTS if part.project != "greenery"))
def test_a_model_reads_others_before_it_and_each_once(name: str) -> None:
    made = generated.models(name)
    assert [one.reads for at, one in enumerate(made) if any(read >= at for read in one.reads)] == []
    assert [one.reads for one in made if len(set(one.reads)) != len(one.reads)] == []


def test_the_public_projects_read_as_much_as_was_counted() -> None:
    fhir, mattermost = generated.models("fhir"), generated.models("mattermost")
    assert Counter(len(one.reads) for one in fhir) == {0: 6, 1: 24, 2: 98, 3: 57, 4: 1, 13: 1}
    read = Counter(one for model in fhir for one in model.reads)
    assert (read[0], [read[6 + at] for at in range(24)]) == (181, list(generated.FHIR_READ))
    assert Counter(len(one.reads) for one in mattermost if one.reads) == Counter(generated.MATTERMOST_READS)
    assert sum(one.tests for one in mattermost) == 401


def test_a_slow_model_waits_one_to_two_seconds_and_an_empty_one_not_at_all() -> None:
    waited = [one.seconds for one in generated.models("300-slow")]
    assert 1 <= min(waited) < 1.1 < 1.9 < max(waited) <= 2
    assert sum(waited) / 300 == pytest.approx(1.5, abs=0.01)
    assert {one.seconds for one in generated.models("300")} == {0}
    assert sum(one.seconds for one in generated.models("fhir-real")) == pytest.approx(436 * 4, rel=0.01)


@pytest.mark.parametrize("name", ["0", "slow", "tall-300", "300-real", "deep-fhir", "mattermost-real"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no such project"):
        generated.models(name)


@pytest.mark.db
def test_a_slow_model_waits_once_however_many_rows_it_reads(server: LocalPostgres) -> None:
    """Counted with a function that tells how often it was called, in the place of `pg_sleep`."""
    query = generated._sql(generated.Model((), seconds=1.5)).replace("pg_sleep(1.5)", "nextval('called')")
    with connect("greenery test", server.database("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("create temporary sequence called")
        cursor.execute(f"create temporary table built as {query}")
        cursor.execute("select count(*), currval('called') from built")
        assert cursor.fetchone() == (1000, 1)


def test_the_plan_takes_a_hundred_minutes_at_most_and_a_project_twenty() -> None:
    minutes = Counter[str]()
    for part in plan.PARTS:
        minutes[part.project] += part.seconds(Rounds()) / 60
    assert minutes.total() <= 100
    assert {project: took for project, took in minutes.items() if took > 20} == {}


def test_a_long_way_is_reckoned_once_and_a_short_one_with_what_is_before_and_after() -> None:
    one = Part("300", ("ours",))
    bare, ours = one.once(ways.BARE), one.once(one.chosen[0])
    beside = plan.A_PROJECT + plan.AN_AIRFLOW
    assert one.seconds(Rounds(timed=3, patience=1)) == pytest.approx(beside + bare + ours)
    assert one.seconds(Rounds(timed=3, patience=100)) == pytest.approx(beside + 5 * (bare + ours))


@pytest.mark.parametrize(
    ("project", "threads", "expected"),
    [
        ("wide-300-slow", 4, 300 * 1.5 / 4),  # there is always one that can be built
        ("wide-300-slow", 300, 4 * 1.7),  # the longest way through four layers
        ("deep-300-slow", 8, 75 * 1.7),
    ],
)
def test_what_models_wait_is_by_the_threads_or_along_the_graph(project: str, threads: int, expected: float) -> None:
    assert Part(project, threads=threads)._waits == pytest.approx(expected, rel=0.15)


def test_a_project_is_run_as_planned_or_as_asked() -> None:
    assert plan.parts([], [], []) == list(plan.PARTS)
    assert [part.threads for part in plan.parts(["300-slow"], [], [])] == [4, 8, 16]
    assert plan.parts(["deep-300"], [], []) == [Part("deep-300")]
    assert plan.parts(["300-slow"], ["bash"], [2]) == [Part("300-slow", ("bash",), 2, goal=1.2)]
    with pytest.raises(ValueError, match="tall-300: no such project"):
        plan.parts(["20", "tall-300"], [], [])
    with pytest.raises(ValueError, match="greenery: it can't be run as fast"):
        plan.parts(["20", "greenery"], ["fast"], [])


def timed(seconds: float, tasks: float = 0) -> Timed:
    return Timed(seconds, Counter({processes.TASKS: tasks}), 0.1)


def test_a_table_tells_a_long_build_once_and_what_was_left_out() -> None:
    bare = Measured("dbt build", [Timed(100, Counter({processes.DBT: 50}), 0.0)])
    ours = Measured("ours", [Timed(110, Counter({processes.TASKS: 60, processes.SCHEDULER: 15}), 1.2)])
    part = Part("300", ("ours", "watcher"))
    [bash] = (way for way in ways.GENERATED if way.name == "bash")
    lines = orchestration.table(
        Result(part, [(bare, [ours]), (bare, [Measured("watcher", [timed(300, 500)])])], failed=[bash])
    )
    names = [line.split(" | ")[0] for line in lines if line.startswith("| ")]
    assert names[1:4] == names[5:] == ["| dbt build", "| ours", "| watcher"]
    assert lines[5] == "| ours | 110.0 (one run) | **1.10** | 75.0 | 1.50 | 0 |  | 1.2 |"
    assert "`bash` is not told: a run of it failed." in lines
    assert lines[-2].startswith("Left out, with what is reckoned: `floor` (53 s a run), `bash` (41 s a run), ")
    assert lines[-2].endswith("`local_after_each` (25 minutes a run), `fast` (3 minutes a run).")


def test_the_parts_are_told_side_by_side_each_with_the_build_beside_it() -> None:
    few = Result(
        Part("20", ("ours", "bash")),
        [
            (Measured("dbt build", [timed(4)]), [Measured("ours", [timed(5)])]),
            (Measured("dbt build", [timed(2)]), [Measured("bash", [timed(3)])]),
        ],
    )
    bare = Measured("dbt build", [timed(100)])
    many = Result(Part("300", threads=8, goal=2), [(bare, [Measured("ours", [timed(150)])]), (bare, [])])
    assert orchestration.summary([few, many])[4:-1] == [
        "| | goal | `dbt build` | ours | bash |",
        "|---|---:|---:|---:|---:|",
        "| 20 |  | 4.0 | 5.0 (1.25) | 3.0 (1.50) |",
        "| 300 with 8 threads | 2 | 100.0 | 150.0 (1.50) |  |",
    ]


@pytest.mark.parametrize(
    ("leader", "called", "expected"),
    [
        (processes.WAREHOUSES, "postgres: postgres airflow [local] idle", processes.AIRFLOWS),
        (processes.WAREHOUSES, "postgres: greenery_transformer warehouse [local] SELECT", processes.WAREHOUSES),
        (processes.WAREHOUSES, "postgres: checkpointer ", processes.WAREHOUSES),
        (processes.SCHEDULER, "airflow serve-logs", processes.SCHEDULER),
        (processes.SCHEDULER, "airflow worker -- LocalExecutor: <idle>", processes.TASKS),
        (processes.SCHEDULER, "airflow worker -- 0199b1c2-1234", processes.TASKS),
        (processes.SCHEDULER, "airflow worker ", processes.TASKS),
        (processes.SCHEDULER, "python -m dbt.cli.main build", processes.TASKS),
        ("dag-processor", "airflow dag-processor", "dag-processor"),
    ],
)
def test_a_process_is_told_by_its_name(leader: str, called: str, expected: str) -> None:
    assert processes.whose(leader, called) == expected


@pytest.mark.db
def test_what_the_server_works_for_is_found_by_the_database(server: LocalPostgres) -> None:
    family = Processes(server.data)
    before = family.cpu_seconds()
    with connect("greenery test", server.database("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from generate_series(1, 1000000)")
        used = family.cpu_seconds() - before
    assert used[processes.WAREHOUSES] > 0
    assert used[processes.AIRFLOWS] == 0


# A task's process works for a while and ends; who forked it says so, and has not waited for it.
UNWAITED = """
import os
if not (task := os.fork()):
    while sum(os.times()[:2]) < 0.3:
        pass
    os._exit(0)
os.waitid(os.P_PID, task, os.WEXITED | os.WNOWAIT)
print("ended", flush=True)
input()
"""


def test_what_a_process_used_counts_before_anybody_has_waited_for_it() -> None:
    scheduler = subprocess.Popen([sys.executable, "-c", UNWAITED], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with scheduler:
        assert scheduler.stdout.readline() == b"ended\n"
        used = Processes(None, {processes.SCHEDULER: scheduler.pid}).cpu_seconds()
        scheduler.stdin.write(b"\n")
    assert 0.3 <= used[processes.TASKS] < 0.6


def test_memory_is_of_those_that_live() -> None:
    over = subprocess.Popen(["true"])
    process = psutil.Process(over.pid)
    over.wait()
    assert processes.memory_of([process]) == Memory()
    assert processes.memory_of([process, psutil.Process()]).peak > 10


def test_what_is_watched_is_looked_at_until_the_block_ends() -> None:
    looked, before = threading.Event(), threading.active_count()
    with processes.watching(0.01, looked.set):
        assert looked.wait(timeout=30)
    assert threading.active_count() == before
