"""Publishing: all at once, only what this run built and proved, and never a mix."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include import raw
from include.answers import answers
from include.answers.answer import About, Kind
from include.daily import buffers
from include.dbt_project.manifest import Manifest
from include.publish import exchange
from include.publish.gate import NotPublishedError
from include.publish.publish import publish_run, published_by_another_try
from include.results import node_results, publications, runs
from include.results.nodes import NodeResult
from include.settings import Warehouse
from include.slack.message import short
from include.unusual import find

pytestmark = pytest.mark.db

PASSED = NodeResult("test.t", "test", "keys_are_unique", "pass", "error", 0, "", 0.1, None)
BUILT = NodeResult("model.m", "model", "m", "success", None, None, "", 0.1, 1)
BUILT_TOO = replace(BUILT, unique_id="model.n", name="n")


def model(name: str, *parents: str) -> dict:
    """A model as the manifest tells of it."""
    return {
        "resource_type": "model",
        "name": name,
        "schema": "analytics_next",
        "config": {"materialized": "table"},
        "depends_on": {"nodes": list(parents)},
    }


MANIFEST = Manifest(
    {
        "model.m": model("m"),
        "model.n": model("n"),
        "test.t": {
            "resource_type": "test",
            "name": "keys_are_unique",
            "config": {"severity": "ERROR"},
            "depends_on": {"nodes": ["model.m"]},
        },
    },
    {},
)


@pytest.fixture
def built(db: Connection) -> Connection:
    """A warehouse in which run 1 has built marts `m` and `n` and proved them."""
    build(db, "run 1", "new")
    return db


def build(db: Connection, run_id: str, content: str, *results: NodeResult) -> None:
    """What a run's dbt tasks do, in small."""
    with db.cursor() as cursor:
        for mart in ("m", "n"):
            cursor.execute(f"drop table if exists analytics_next.{mart}")
            cursor.execute(f"create table analytics_next.{mart} as select %s as content", (content,))
    runs.begin(db, run_id, "release")
    buffers.begin(db, run_id)
    node_results.record(db, run_id, "task", 1, [BUILT_TOO, *(results or (BUILT, PASSED))])


def published(db: Connection) -> list[str]:
    with db.cursor() as cursor:
        cursor.execute("select to_regclass('analytics.m')")
        if cursor.fetchone()[0] is None:
            return []
        cursor.execute("select content from analytics.m")
        return [content for (content,) in cursor.fetchall()]


def test_what_was_built_and_proved_is_published(built: Connection) -> None:
    publish_run("run 1", MANIFEST)
    assert published(built) == ["new"]
    assert publications.live(built).run_id == "run 1"


def test_the_schema_says_as_of_when(built: Connection) -> None:
    publish_run("run 1", MANIFEST)
    with built.cursor() as cursor:
        cursor.execute(
            "select obj_description('analytics'::regnamespace), obj_description('analytics_next'::regnamespace)"
        )
        live, aside = cursor.fetchone()
    assert live.startswith("published 20")
    assert "Where dbt builds" in aside


def test_a_clock_that_was_set_back_behind_the_last_publish_is_named(built: Connection) -> None:
    publish_run("run 1", MANIFEST)
    with built.cursor() as cursor:
        cursor.execute("update ops.publications set published_at = published_at + interval '2 hours'")
    build(built, "run 2", "newer")
    with pytest.raises(NotPublishedError, match="By the server's clock it is"):
        publish_run("run 2", MANIFEST)
    assert published(built) == ["new"]


def test_a_clock_that_was_set_back_while_a_run_built_is_named(built: Connection) -> None:
    with built.cursor() as cursor:
        cursor.execute("update ops.buffers set since = since + interval '2 hours'")
    with pytest.raises(NotPublishedError, match=r"By the server's clock it is .*, and the run began at"):
        publish_run("run 1", MANIFEST)
    assert published(built) == []
    build(built, "run 2", "newer")
    publish_run("run 2", MANIFEST)
    assert published(built) == ["newer"]


@pytest.mark.parametrize("status", ["fail", "error", "skipped"])
def test_a_test_that_did_not_pass_blocks(db: Connection, status: str) -> None:
    build(db, "run 1", "new", BUILT, replace(PASSED, status=status))
    with pytest.raises(NotPublishedError, match="keys_are_unique"):
        publish_run("run 1", MANIFEST)
    assert published(db) == []


def observed(connection: Connection) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute("select run_id, unique_id, value from ops.observations where measure = 'rows' order by 2")
        return cursor.fetchall()


def test_what_is_published_was_observed(built: Connection) -> None:
    publish_run("run 1", MANIFEST)
    assert observed(built) == [("run 1", "model.m", 1), ("run 1", "model.n", 1)]
    assert publications.live(built).notes == ()


def test_what_was_refused_was_observed_as_well(db: Connection) -> None:
    build(db, "run 1", "new", BUILT, replace(PASSED, status="fail"))
    with pytest.raises(NotPublishedError):
        publish_run("run 1", MANIFEST)
    assert [unique_id for _, unique_id, _ in observed(db)] == ["model.m", "model.n"]


def test_what_could_not_be_observed_is_published_and_said(built: Connection) -> None:
    dated = {"schema": "raw", "name": "sales", "config": {"event_time": "ordered_at"}}
    with built.cursor() as cursor:
        cursor.execute("create schema if not exists raw; create table raw.sales as select now() as created_at")
    publish_run("run 1", Manifest(MANIFEST.nodes, {"source.sales": dated}))
    assert published(built) == ["new"]
    assert publications.live(built).notes == (
        "What is unusual could not be looked at: raw.sales: it has no column ordered_at of dates or times, which its "
        "`event_time` names",
    )


@pytest.mark.parametrize("waives", [True, False])
def test_a_failed_test_that_is_muted_blocks_unless_somebody_lets_it_through(db: Connection, waives: bool) -> None:
    build(db, "run 1", "new", BUILT, replace(PASSED, status="fail"))
    today = datetime.now(UTC).date()
    answers.give(db, Kind.MUTE, About(PASSED.unique_id), "ada", "mended tomorrow", today, waives=waives)
    with nullcontext() if waives else pytest.raises(NotPublishedError, match="keys_are_unique"):
        publish_run("run 1", MANIFEST)
    assert published(db) == (["new"] if waives else [])


def reads_all(db: Connection, run_id: str, *results: NodeResult) -> bool:
    """Build a run: whether its tests read all rows, and not the new ones alone."""
    build(db, run_id, run_id, *results)
    with db.cursor() as cursor:
        cursor.execute("select scan from ops.buffers where schema_oid = 'analytics_next'::regnamespace")
        [(scan,)] = cursor.fetchall()
        return scan


def test_once_a_failed_test_was_let_through_tests_read_all_rows_until_it_has_passed_on_each_buffer(
    db: Connection,
) -> None:
    for number in (1, 2):
        build(db, f"run {number}", "new")
        publish_run(f"run {number}", MANIFEST)
    today = datetime.now(UTC).date()
    answers.give(db, Kind.MUTE, About(PASSED.unique_id), "ada", "mended tomorrow", today, waives=True)
    assert reads_all(db, "run 3") is False
    publish_run("run 3", MANIFEST)  # nothing had to be let through
    assert reads_all(db, "run 4", BUILT, replace(PASSED, status="fail")) is False
    publish_run("run 4", MANIFEST)
    for number, asked in ((5, True), (6, True), (7, False), (8, False)):
        assert reads_all(db, f"run {number}") is asked
        publish_run(f"run {number}", MANIFEST)


HOOK = NodeResult(
    "operation.shop.end", "operation", "end", "error", None, 1, "shop.on-run-end.0 failed, error:\n  no role", 0.1, None
)


def test_a_hook_that_failed_after_the_models_were_built_blocks_until_somebody_publishes(built: Connection) -> None:
    """It is well in a later task, which has built other models: that says nothing of these."""
    node_results.record(built, "run 1", "build_ahead", 1, [HOOK])
    node_results.record(built, "run 1", "snapshot", 1, [replace(HOOK, status="success")])
    with pytest.raises(NotPublishedError, match=r"^1 hook of [^\0]*  shop\.on-run-end\.0 failed, error: no role\nMend"):
        publish_run("run 1", MANIFEST)
    assert published(built) == []
    publish_run("run 1", MANIFEST, publications.decide(built, publications.PUBLISH, "run 1", "ada", "no harm"))
    assert published(built) == ["new"]


def test_a_hook_that_failed_in_a_try_before_or_before_the_run_began_again_blocks_nothing(db: Connection) -> None:
    build(db, "run 1", "new")
    node_results.record(db, "run 1", "build_ahead", 1, [HOOK])
    build(db, "run 1", "newer")
    node_results.record(db, "run 1", "task", 1, [HOOK])
    node_results.record(db, "run 1", "task", 2, [replace(HOOK, status="success")])
    publish_run("run 1", MANIFEST)
    assert published(db) == ["newer"]


def test_a_test_without_a_result_blocks(db: Connection) -> None:
    build(db, "run 1", "new", BUILT)
    with pytest.raises(NotPublishedError, match="keys_are_unique"):
        publish_run("run 1", MANIFEST)


def test_a_result_of_another_run_does_not_count(built: Connection) -> None:
    build(built, "run 2", "newer", BUILT)
    with pytest.raises(NotPublishedError, match="keys_are_unique"):
        publish_run("run 2", MANIFEST)


def test_a_failed_warning_does_not_block(built: Connection) -> None:
    warning = {**MANIFEST.nodes["test.t"], "config": {"severity": "WARN"}, "name": "looks_odd"}
    publish_run("run 1", Manifest({**MANIFEST.nodes, "test.w": warning}, {}))
    assert published(built) == ["new"]


@pytest.mark.parametrize("ran", [{"severity": "warn"}, {"error_if": ">1000"}, {"severity": "warn", "status": "pass"}])
def test_a_test_that_ran_milder_than_the_run_s_release_says_has_not_passed(db: Connection, ran: dict[str, str]) -> None:
    """Its severity comes from an environment, say, which is another where the task ran."""
    build(db, "run 1", "new", BUILT, replace(PASSED, **{"status": "warn", "failures": 7, **ran}))
    with pytest.raises(NotPublishedError, match=r"keys_are_unique, which ran with .* and not with severity error"):
        publish_run("run 1", MANIFEST)
    assert published(db) == []


def test_a_test_that_lets_some_rows_through_has_passed_as_it_says(db: Connection) -> None:
    config = {"severity": "error", "error_if": ">10"}
    nodes = {**MANIFEST.nodes, "test.t": {**MANIFEST.nodes["test.t"], "config": config}}
    build(db, "run 1", "new", BUILT, replace(PASSED, status="warn", failures=7, error_if=">10"))
    publish_run("run 1", Manifest(nodes, {}))
    assert published(db) == ["new"]


def of_mart_m(said: str) -> Manifest:
    """The same project, where the model `m` says what follows of an unusual figure of it."""
    config = {**MANIFEST.nodes["model.m"]["config"], "meta": {"unusual": said}}
    node = {**MANIFEST.nodes["model.m"], "config": config, "original_file_path": "models/m.sql"}
    return Manifest({**MANIFEST.nodes, "model.m": node}, {})


@pytest.fixture
def odd(built: Connection) -> Connection:
    """The same warehouse, in whose past `m` had a thousand rows on each of sixty days; now it has one."""
    runs.begin(built, "run 0", "release")
    with built.cursor() as cursor:
        cursor.execute(
            """
            insert into ops.observations (unique_id, measure, day, value, run_id)
            select 'model.m', 'rows', (now() at time zone 'UTC')::date - 1 - day, 1000 + day % 3, 'run 0'
            from generate_series(1, 60) as day
            """
        )
    return built


def test_what_is_unusual_is_published_where_its_owner_says_nothing_else(odd: Connection) -> None:
    publish_run("run 1", of_mart_m("say"))
    assert published(odd) == ["new"]
    assert [one.series.unique_id for one in find.of_run(odd, "run 1")] == ["model.m"]


def test_what_is_unusual_holds_the_publish_where_its_owner_says_so_until_somebody_publishes(odd: Connection) -> None:
    with pytest.raises(NotPublishedError, match=r"1 figure is unusual[^\0]*  rows of m") as refused:
        publish_run("run 1", of_mart_m("hold"))
    assert "publish --run run 1 --reason …`" in short(str(refused.value)), "the message has the way out"
    assert published(odd) == []
    assert [one.holds for one in find.of_run(odd, "run 1")] == [True], "what held it is there to be told"
    decision = publications.decide(odd, publications.PUBLISH, "run 1", "ada", "a new shop")
    publish_run("run 1", of_mart_m("hold"), decision)
    assert published(odd) == ["new"]


def test_what_is_answered_to_be_expected_holds_no_publish(odd: Connection) -> None:
    day = datetime.now(UTC).date() - timedelta(days=1)
    answers.give(odd, Kind.EXPECTED, About("model.m", "rows", day=day), "ada", "a new shop")
    publish_run("run 1", of_mart_m("hold"))
    assert published(odd) == ["new"]


def test_what_may_not_be_published_unusual_is_held_where_nobody_can_look(built: Connection) -> None:
    with built.cursor() as cursor:
        cursor.execute("alter table ops.observations rename to elsewhere")
    with pytest.raises(NotPublishedError, match=r"could not be looked at[^\0]*observations.* does not exist"):
        publish_run("run 1", of_mart_m("hold"))
    publish_run("run 1", of_mart_m("say"))
    assert published(built) == ["new"]
    assert "What is unusual could not be looked at" in publications.live(built).notes[0]


def test_publish_alone_again_changes_nothing(built: Connection) -> None:
    publish_run("run 1", MANIFEST)
    publish_run("run 1", MANIFEST)
    assert published(built) == ["new"]


def test_a_try_that_died_once_it_had_published_is_told_from_a_publish_that_was_cleared(built: Connection) -> None:
    begun = datetime.now(UTC)
    assert publish_run("run 1", MANIFEST)
    for start_date, died in ((begun, True), (datetime.now(UTC), False), (None, False)):
        context = {"run_id": "run 1", "dag_run": SimpleNamespace(start_date=start_date)}
        assert published_by_another_try(context) is died


def test_an_old_run_whose_publish_is_cleared_does_not_bring_old_data_back(built: Connection) -> None:
    publish_run("run 1", MANIFEST)
    build(built, "run 2", "newer")
    publish_run("run 2", MANIFEST)
    publish_run("run 1", MANIFEST)
    assert published(built) == ["newer"]


def test_what_another_run_wrote_meanwhile_is_not_published_by_this_one(built: Connection) -> None:
    build(built, "run 2", "bad", BUILT, replace(PASSED, status="fail"))
    with pytest.raises(NotPublishedError, match="Run run 2 has begun"):
        publish_run("run 1", MANIFEST)
    assert published(built) == []


def test_a_model_built_again_after_its_test_is_not_proven(built: Connection) -> None:
    node_results.record(built, "run 1", "task", 2, [BUILT])
    with pytest.raises(NotPublishedError, match="keys_are_unique"):
        publish_run("run 1", MANIFEST)


def test_a_model_older_than_what_it_reads_is_refused(built: Connection) -> None:
    node_results.record(built, "run 1", "child", 1, [replace(BUILT, unique_id="model.child")])
    node_results.record(built, "run 1", "task", 2, [BUILT, PASSED])
    with pytest.raises(NotPublishedError, match=r"model\.child"):
        publish_run("run 1", Manifest({**MANIFEST.nodes, "model.child": model("child", "model.m")}, {}))


def test_a_run_that_built_only_some_models_since_is_refused(built: Connection) -> None:
    both = Manifest({**MANIFEST.nodes, "model.o": model("o")}, {})
    with pytest.raises(NotPublishedError, match=r"model\.o"):
        publish_run("run 1", both)
    assert published(built) == []


def test_a_model_that_the_project_has_lost_since_the_run_began_blocks_and_that_is_said(
    built: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow draws the tasks of the project as it is now, and the run is made of the project as it was."""
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    (tmp_path / "dbt" / "releases" / "a later one").mkdir(parents=True)
    (tmp_path / "dbt" / "current").symlink_to("releases/a later one")
    of_then = Manifest({**MANIFEST.nodes, "model.lost": model("lost")}, {})
    with pytest.raises(
        NotPublishedError, match=r"(?s)model\.lost.*The dbt project has changed since.*Trigger a new run"
    ):
        publish_run("run 1", of_then)
    assert published(built) == []


def test_a_model_that_failed_does_not_count_as_built(built: Connection) -> None:
    node_results.record(built, "run 1", "task", 2, [replace(BUILT_TOO, status="error")])
    with pytest.raises(NotPublishedError, match=r"model\.n"):
        publish_run("run 1", MANIFEST)


def test_what_was_built_before_the_run_began_again_does_not_count(built: Connection) -> None:
    """Somebody cleared check_sources alone: raw was followed up to then, and the models were not."""
    buffers.begin(built, "run 1")
    with pytest.raises(NotPublishedError, match=r"model\.m"):
        publish_run("run 1", MANIFEST)


def test_what_a_test_said_before_the_run_began_again_does_not_count(db: Connection) -> None:
    """Somebody cleared check_sources, and the tests of raw were killed in the second try. They read nothing built."""
    of_raw = {**MANIFEST.nodes["test.t"], "depends_on": {"nodes": ["source.shop.orders"]}}
    of_no_model = Manifest({**MANIFEST.nodes, "test.t": of_raw}, {})
    build(db, "run 1", "new")
    build(db, "run 1", "newer", BUILT)
    with pytest.raises(NotPublishedError, match="keys_are_unique"):
        publish_run("run 1", of_no_model)
    assert published(db) == []


def test_what_somebody_built_by_hand_after_the_run_is_not_published(built: Connection) -> None:
    with built.cursor() as cursor:
        cursor.execute(
            "insert into ops.buffer_models (schema_oid, unique_id, rebuilt)"
            " values ('analytics_next'::regnamespace, 'model.m', true)"
        )
    with pytest.raises(NotPublishedError, match=r"model\.m"):
        publish_run("run 1", MANIFEST)


@pytest.mark.parametrize(
    ("loads", "refused"),
    [
        ({"before": "clock_timestamp()"}, False),
        ({"between": "clock_timestamp()"}, True),
        ({"after": "clock_timestamp()"}, False),
        ({"between": "clock_timestamp()", "after": "clock_timestamp()"}, True),
        # By a loader whose clock is ahead.
        ({"between": "now() + interval '1 minute'"}, True),
    ],
    ids=lambda value: " and ".join(value) if isinstance(value, dict) else None,
)
def test_models_of_before_a_load_and_of_after_it_are_not_published_together(
    db: Connection, loads: dict[str, str], refused: bool
) -> None:
    with db.cursor() as cursor:
        raw.create(cursor)
        cursor.execute("insert into raw.promos values ('p', 1, 'active', '2999-01-01')")  # nobody's load
    build(db, "run 1", "new")
    for step in ("before", BUILT, "between", BUILT_TOO, "after", PASSED):
        if isinstance(step, NodeResult):
            node_results.record(db, "run 1", step.name, 2, [step])
        elif step in loads:
            with db.cursor() as cursor:
                cursor.execute(f"insert into raw.promos values ('p', 1, 'active', {loads[step]})")
    if refused:
        with pytest.raises(NotPublishedError, match="Raw was loaded at"):
            publish_run("run 1", MANIFEST)
    else:
        publish_run("run 1", MANIFEST)
    assert published(db) == ([] if refused else ["new"])


def test_the_former_marts_are_kept_aside(built: Connection) -> None:
    publish_run("run 1", MANIFEST)
    build(built, "run 2", "newer")
    publish_run("run 2", MANIFEST)
    with built.cursor() as cursor:
        cursor.execute("select content from analytics_next.m")
        assert cursor.fetchall() == [("new",)]


def test_an_idle_reader_who_holds_a_table_is_named_as_the_cause(
    built: Connection, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    publish_run("run 1", MANIFEST)
    build(built, "run 2", "newer")
    monkeypatch.setattr(exchange, "ATTEMPTS", 2)
    caplog.set_level(logging.INFO, exchange.log.name)
    monkeypatch.setattr(exchange, "pause", lambda _: 0.1)
    reader = psycopg2.connect(host=warehouse.host, port=warehouse.port, dbname=warehouse.database, user=warehouse.user)
    with reader.cursor() as cursor:
        cursor.execute("select * from analytics.m")
        with pytest.raises(NotPublishedError, match=r"idle in transaction since .* end PID"):
            publish_run("run 2", MANIFEST)
    reader.close()
    tried = [said.partition(":")[0] for said in caplog.messages if said.startswith("Attempt")]
    assert tried == ["Attempt 1 of 2", "Attempt 2 of 2"]
    assert published(built) == ["new"]
