"""What dbt allows, in one project of a made-up bakery, after five runs of one release with new data each day.

`docs/own-project.md` has the table; its rows are held here by what the five runs left, beside what plain dbt built.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cosmos.operators.local import DbtBuildLocalOperator

from include import backup
from include.daily import buffers
from include.dbt_project import manifest, release
from include.fast_cosmos import invocation
from include.local.postgres import LocalPostgres
from include.publish.gate import NotPublishedError
from include.publish.publish import publish_run
from tests.forks import Forks
from tests.own_project.conftest import Played, context, end_ahead, play, project_of

pytestmark = pytest.mark.db

# The first two fill a buffer each, the third and fourth go on from those, and the fifth from one that went on already.
RUNS = 5
# Those in which nothing is built ahead: a buffer that one dbt filled goes on by tasks, and the other way round.
BY_TASKS = (2, 3)
NEXT = f"run {RUNS + 1}"
FIRST_DAY = datetime(2026, 11, 9, tzinfo=UTC).date()
LONG = "sales_of_each_loaf_by_shop_and_day_of_the_week_since_it_was_ope"
GUESTS = 'snapshots."Guests and what they like, as the till was told, since day one."'

TABLES = """
do $$ begin
    if not exists (select from pg_roles where rolname = 'crumb_auditor') then create role crumb_auditor; end if;
end $$;
create schema crumb;
create schema crumb_mill;
create table crumb.sales (
    sale_id int, loaf text, shop text, cents int, sold_on date, sold_at timestamptz,
    written_at timestamptz default now()
);
create table crumb."Loaves" (
    loaf text, "List Price" numeric, "group" text, changed_at timestamptz, written_at timestamptz default now()
);
create table crumb.today (today date, written_at timestamptz default now());
create table crumb.guests (guest text, likes text, written_at timestamptz default now());
create table crumb_mill.deliveries (delivery_id int, kilos int, came_at timestamptz default now());
create table raw.orders (order_id text, note text, _loaded_at timestamptz default now());
insert into crumb."Loaves" values
    ('rye', 3, 'dark', '2026-11-01 06:00+00'), ('roll', 0.5, 'white', '2026-11-01 06:00+00'),
    ('bun', 1, 'white', '2026-11-01 06:00+00');
insert into crumb.today values ('2026-11-01');
insert into crumb.guests values ('ann', 'rye'), ('bob', 'roll');
"""


def load(played: Played, run: int) -> None:
    """The bakery's next day: its sales, one more of the day before, a new price, and who came and went.

    Sales of former days go back out of the reach of a batch.
    """
    if run == 1:
        played.query(TABLES)
    day = FIRST_DAY + timedelta(days=run)
    played.query(
        f"""
        update crumb.today set today = '{day}';
        update crumb.sales set sold_at = sold_at - interval '3 days';
        insert into crumb.sales (sale_id, loaf, shop, cents, sold_on, sold_at) values
            ({run}0, 'rye', 'corner', 300 + {run}, '{day}', now()),
            ({run}1, 'roll', 'market', 50, '{day}', now()),
            ({run}2, 'roll', 'market', 0, '{day}', now()),
            ({run}3, 'rye', 'market', 310, '{day - timedelta(days=1)}', now());
        update crumb."Loaves" set "List Price" = "List Price" + 1, changed_at = '{day} 06:00+00'
        where loaf = '{("rye", "roll")[run % 2]}';
        insert into crumb_mill.deliveries values ({run}, 100);
        insert into raw.orders values ('order {run}', 'soon');
        update crumb.guests set likes = 'bun' where guest = 'bob' and {run} = 2;
        """
    )
    if run == 3:
        played.query("delete from crumb.guests where guest = 'ann'; delete from crumb.\"Loaves\" where loaf = 'bun'")
    if run == 4:
        played.query("alter table crumb.guests add column town text; insert into crumb.guests values ('cy', 'rye')")
        played.query("insert into crumb.guests values ('ann', 'rye')")


@pytest.fixture(scope="module")
def played(server: LocalPostgres, dbts: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """The project after its five runs."""
    home = tmp_path_factory.mktemp("everything")
    with project_of(Path("everything"), home, server, dbts) as source, pytest.MonkeyPatch.context() as environment:
        environment.setenv("CRUMB_TOWN", "Millford")
        environment.setenv("CRUMB_BEGAN", str((datetime.now(UTC) - timedelta(days=2)).date()))
        deps = [sys.executable, "-m", "dbt.cli.main", "--quiet", "deps"]
        subprocess.run(
            [*deps, "--project-dir", source, "--profiles-dir", source], check=True, cwd=source, env=os.environ
        )
        yield from play(source, home, load, RUNS, BY_TASKS)


def statuses(played: Played, kind: str) -> dict[str, str]:
    """What became of the nodes of a kind in the last run, by name."""
    return dict(
        played.query(
            f"select name, status from ops.node_results where run_id = 'run {RUNS}' and resource_type = '{kind}'"
        )
    )


def kind_of(played: Played, relation: str) -> str | None:
    """Postgres' letter for what a relation is: r, v or m."""
    [found] = played.column(f"select (select relkind::text from pg_class where oid = to_regclass('{relation}'))")
    return found


@pytest.mark.parametrize("run", range(1, RUNS + 1))
def test_each_run_publishes_what_plain_dbt_holds(played: Played, run: int) -> None:
    """Of every model, seed and snapshot."""
    assert played.differences[run - 1] == {}


def test_each_test_ran_once_in_a_run(played: Played) -> None:
    ran = played.column(
        f"select unique_id from ops.node_results where run_id = 'run {RUNS}' and resource_type = 'test'"
    )
    key_tests = {one for one, times in Counter(ran).items() if times == 2}
    assert set(ran) == {test.unique_id for test in played.facts.data_tests}
    assert key_tests <= played.facts.tests_of(manifest.SNAPSHOT) & played.facts.tests_of(manifest.CHECK_SOURCES)


def test_no_incremental_model_is_rebuilt_day_after_day(played: Played) -> None:
    """Called by an alias or not."""
    assert (
        played.column(
            "select unique_id from ops.buffer_models where rebuilt and checksum is not null"
            " and schema_oid in ('analytics'::regnamespace, 'analytics_next'::regnamespace)"
        )
        == []
    )


def test_the_former_marts_can_be_gone_back_to(played: Played) -> None:
    [former] = played.column("select 'analytics_next'::regnamespace::oid")
    assert not buffers.is_written_over(played.warehouse, former)


def test_a_seed_is_published_with_the_marts(played: Played) -> None:
    assert played.query("select * from analytics.shops order by 1") == [
        ("corner", "High Street"),
        ("market", "Market Square"),
    ]


def test_versions_stand_side_by_side_and_the_latest_is_what_a_ref_means(played: Played) -> None:
    assert (kind_of(played, "analytics.loaf_v1"), kind_of(played, "analytics.loaf_v2")) == ("r", "r")
    assert played.facts.parents("model.crumb.cheap_loaves") == ["model.crumb.loaf.v2"]


def test_an_ephemeral_model_makes_nothing_and_its_tests_run(played: Played) -> None:
    assert played.column("select relname::text from pg_class where relname in ('int_sold', 'int_untested')") == []
    assert statuses(played, "test")["not_null_int_sold_cents"] == "pass"


def test_capitals_spaces_reserved_words_and_63_letters_are_names(played: Played) -> None:
    assert kind_of(played, 'analytics."Sales by Shop, v1.0"') == "r"
    assert kind_of(played, 'analytics."order"') == "r"
    assert kind_of(played, f"analytics.{LONG}") == "r"
    assert played.query('select "group", "Loaves sold" from analytics."order" order by 1') == [
        ("dark", 2 * RUNS),
        ("white", RUNS),
    ]


def test_a_schema_of_its_own_stands_outside_the_exchange(played: Played) -> None:
    assert kind_of(played, "books.ledger") == "r"
    assert kind_of(played, "analytics.ledger") is None


def test_models_of_packages_are_published(played: Played) -> None:
    assert (kind_of(played, "analytics.mills"), kind_of(played, "analytics.ovens")) == ("r", "r")


def test_a_model_called_as_its_folder_is_built_alone(played: Played) -> None:
    built = played.column(
        f"select name from ops.node_results where run_id = 'run {RUNS}' and task_id like '%.money_model_build'"
        " and resource_type = 'model'"
    )
    assert built == ["money"]


def test_every_materialization_is_one_in_analytics(played: Played) -> None:
    kinds = {name: kind_of(played, f"analytics.{name}") for name in ("money", "money_by_shop", "takings", "appended")}
    assert kinds == {"money": "v", "money_by_shop": "m", "takings": "r", "appended": "r"}


def test_a_models_own_hooks_run_once_a_run(played: Played) -> None:
    noted = Counter(played.column("select what from crumb.runs_of_dbt"))
    assert noted["before takings in analytics_next"] == RUNS
    assert noted["after takings in analytics_next"] == RUNS


def test_the_hooks_of_a_dbt_run_surround_all_that_is_built_ahead(played: Played) -> None:
    """Seeds, models of batches and of packages, versions and names with spaces among it: no task builds it again."""
    noted = Counter(played.column("select what from crumb.runs_of_dbt"))
    built = {task.task_id: isinstance(task, DbtBuildLocalOperator) for task in played.dag.tasks}
    others = {task_id for task_id, builds in built.items() if builds and not task_id.startswith("transform.")}
    assert others == {"build_ahead", "snapshot", "history.models.history.price_changes_model_build"}
    checks = 3  # two of check_sources, and cross_model_tests
    of_a_run = checks + len(others)
    of_tasks = sum(built.values()) - 1 + checks
    assert noted["start of analytics_next"] == noted["end of analytics_next"]
    assert noted["start of analytics_next"] == of_a_run * (RUNS - len(BY_TASKS)) + of_tasks * len(BY_TASKS)


def test_each_test_has_its_result_under_its_own_task(played: Played) -> None:
    ran = played.column(
        f"select distinct task_id from ops.node_results where run_id = 'run {RUNS}' and resource_type = 'test'"
    )
    assert len(ran) > 10
    assert "build_ahead" not in ran


def test_a_macro_in_place_of_dbts_own_is_the_one_that_counts(played: Played) -> None:
    assert kind_of(played, 'analytics."night_Nightly"') == "r"


def test_an_operation_is_run_by_hand(played: Played) -> None:
    project = release.current()
    assert project
    assert invocation.invoke(project, ["run-operation", "note_by_hand"]).success
    assert played.column("select what from crumb.runs_of_dbt where what like 'by hand%'") == [
        "by hand of analytics_next"
    ]


def test_a_test_warns_by_the_severity_of_a_variable_and_holds_nothing_back(played: Played) -> None:
    warned = {name for name, status in statuses(played, "test").items() if status == "warn"}
    assert warned == {"accepted_values_Nightly_sales__False___1"}


def test_a_test_keeps_the_rows_that_it_finds_in_a_schema_of_its_own(played: Played) -> None:
    assert played.column('select count(*) from audit."not_null_Nightly_sales"') == [0]


def test_a_test_without_a_parent_has_to_pass_as_well(played: Played) -> None:
    assert statuses(played, "test")["nobody_owes"] == "pass"


def test_what_is_switched_off_or_an_analysis_is_not_built(played: Played) -> None:
    assert played.column("select relname::text from pg_class where relname in ('switched_off', 'best_day')") == []


def test_no_unit_test_runs_in_a_daily_run(played: Played) -> None:
    assert statuses(played, "unit_test") == {}


def test_a_contract_is_kept(played: Played) -> None:
    types = played.column(
        "select format_type(atttypid, null) from pg_attribute where attrelid = 'analytics.takings'::regclass"
        " and attnum > 0 order by attnum"
    )
    assert types == ["date", "text", "bigint", "numeric"]


def test_who_a_model_grants_to_may_read_what_is_published(played: Played) -> None:
    assert played.column("select has_table_privilege('crumb_auditor', 'analytics.takings', 'select')") == [True]


@pytest.mark.parametrize("source", ["source.crumb.till.sales", "source.crumb.mill.deliveries"])
def test_each_source_has_a_freshness_of_its_own(played: Played, source: str) -> None:
    assert played.column(
        f"select status from ops.node_results where run_id = 'run {RUNS}' and unique_id = 'freshness.{source}'"
    ) == ["pass"]


def test_variables_and_the_environment_are_those_of_the_run(played: Played) -> None:
    assert played.column("select distinct town from analytics.loaf_v2") == ["Millford"]


def test_a_model_that_keeps_what_was_true_of_each_day_has_every_day(played: Played) -> None:
    assert played.column("select count(distinct day) from analytics.stock_of_each_day") == [RUNS]


def test_a_batch_that_was_built_while_the_other_buffer_was_live_is_there(played: Played) -> None:
    assert played.column("select count(*) from analytics.batched") == [4 * RUNS]


def test_an_incremental_model_that_goes_on_keeps_its_indexes(played: Played) -> None:
    assert played.column(
        f"select count(*) from pg_indexes where schemaname = 'analytics' and tablename = '{LONG}'"
    ) == [1]


def test_an_incremental_model_that_goes_on_stays_unlogged(played: Played) -> None:
    assert played.column("select relpersistence::text from pg_class where oid = 'analytics.numbered'::regclass") == [
        "u"
    ]


def test_what_reads_a_snapshot_is_built_after_it(played: Played) -> None:
    [built] = [one for one in played.dag.task_ids if one.endswith(".price_changes_model_build")]
    assert built.startswith("history.")
    assert "snapshot" in played.dag.get_task(built).get_flat_relative_ids(upstream=True)


def test_a_row_that_was_deleted_is_closed_in_a_snapshot_at_the_moment_it_was_missed(played: Played) -> None:
    """Whatever the time zone of the server."""
    [since] = played.column(
        "select extract(epoch from now() - dbt_valid_to) from snapshots.loaves_snapshot where loaf = 'bun'"
    )
    assert 0 < since < 3600


def test_a_row_that_was_deleted_and_came_back_is_told_as_such(played: Played) -> None:
    told = played.column(f"select dbt_is_deleted from {GUESTS} where guest = 'ann' order by dbt_valid_from")
    assert told == ["False", "True", "False"]


def test_a_column_that_a_source_gets_is_in_the_snapshot(played: Played) -> None:
    assert played.column(f"select count(*) from {GUESTS} where town is null") != [0]


def test_the_indexes_of_a_snapshot_with_a_long_name_are_made_once(played: Played) -> None:
    indexed = played.column(
        f"select attname::text from pg_index join pg_attribute on attrelid = indrelid and attnum = indkey[0]"
        f" where indrelid = '{GUESTS}'::regclass order by 1"
    )
    assert indexed == ["dbt_scd_id", "guest"]


def test_every_snapshot_is_guarded(played: Played) -> None:
    assert played.column("select name from ops.snapshots order by 1") == [
        "guests_snapshot",
        "loaves_snapshot",
        "takings_snapshot",
    ]


def compiled(played: Played, test: str) -> str:
    """The SQL that the last run asked of a test."""
    [sql] = played.column(f"select sql from ops.compiled_sql where unique_id like 'test.crumb.{test}.%'")
    return sql


def test_what_is_stamped_is_asked_of_its_new_rows_alone(played: Played) -> None:
    assert "_loaded_at > " in compiled(played, "not_null_stg_orders_order_id")


@pytest.mark.parametrize("test", ["not_null_stg_orders_unstamped_order_id", "not_null_stg_notes_orders"])
def test_what_nobody_stamped_is_asked_of_all_rows(played: Played, test: str) -> None:
    """A view without the stamp, and one in which an old row becomes another."""
    assert "_loaded_at" not in compiled(played, test)


# These look at another run that has begun, and so come last.


@pytest.fixture(scope="module")
def begun(played: Played) -> Played:
    """It has begun."""
    load(played, RUNS + 1)
    played.dag.get_task("check_sources").execute(context(NEXT, "check_sources"))
    end_ahead(NEXT)
    return played


def run_task(played: Played, node: str, **params: object) -> None:
    """One task of it."""
    invocation.load.cache_clear()  # it is a process of its own, which has compiled nothing yet
    name = f"transform.{played.facts.task_of(node)}"
    played.dag.get_task(name).execute(context(NEXT, name, **params))


def test_what_is_built_outside_the_exchange_leaves_the_former_marts_as_they_were(begun: Played) -> None:
    [former] = begun.column("select 'analytics_next'::regnamespace::oid")
    run_task(begun, "model.crumb.ledger")
    assert not buffers.is_written_over(begun.warehouse, former)


def test_a_seed_takes_the_place_of_a_former_one_with_other_columns(begun: Played) -> None:
    """As where a column was added: the buffer holds it as it was two runs ago."""
    begun.query("alter table analytics_next.shops drop column street")
    run_task(begun, "seed.crumb.shops")
    assert ("corner", "High Street") in begun.query("select * from analytics_next.shops")


def test_a_task_that_is_cleared_appends_nothing_twice(begun: Played) -> None:
    held = "select count(*) from analytics_next.lately"
    run_task(begun, "model.crumb.lately")
    once = begun.column(held)
    run_task(begun, "model.crumb.lately")
    assert begun.column(held) == once > begun.column("select count(*) from analytics.lately")


def test_a_full_refresh_builds_an_incremental_model_from_all_there_is(begun: Played) -> None:
    """So that what came late is in it; of what keeps its history by itself nothing is lost."""
    run_task(begun, "model.crumb.appended", full_refresh=True)
    run_task(begun, "model.crumb.stock_of_each_day", full_refresh=True)
    assert begun.column("select count(*) from analytics_next.appended") == [3 * (RUNS + 1)]
    assert begun.column("select count(*) from analytics.appended") < [3 * RUNS]
    assert begun.column("select count(distinct day) from analytics_next.stock_of_each_day") == [RUNS + 1]


def test_the_copy_that_a_killed_attempt_left_is_not_taken_for_a_build(begun: Played) -> None:
    """It says nothing, so the last that is known of the model is that the run has built it."""
    run_task(begun, "model.crumb.lately")
    project = release.current()
    assert project
    invocation.load.cache_clear()
    begun.query("alter table crumb.today rename to tomorrow")
    assert not invocation.invoke(project, ["run", "--select", "lately"]).success
    begun.query("alter table crumb.tomorrow rename to today")
    with pytest.raises(NotPublishedError, match=r"\n  model\.crumb\.lately\n"):
        publish_run(NEXT, begun.facts)


def test_what_cannot_be_built_again_goes_on_though_ops_has_forgotten_it(begun: Played) -> None:
    """As after a move to another server; the run begins once more."""
    backup.moved()
    begun.dag.get_task("check_sources").execute(context(NEXT, "check_sources"))
    run_task(begun, "model.crumb.stock_of_each_day")
    assert begun.column("select count(distinct day) from analytics_next.stock_of_each_day") == [RUNS + 1]
