"""A developer's branch: one's own model where it is built, what is published elsewhere, and nobody is disturbed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from include import branch, settings
from include.local import postgres
from include.settings import PROJECT_ROOT
from include.warehouse import open_connection, roles, sandbox
from tests.dbt.conftest import KeptShop
from tests.dbt.days import Days, Project
from tests.forks import Forks, fork_dbt

pytestmark = pytest.mark.db

FACT = "models/marts/core/fact_orders.sql"
Make = Callable[..., tuple[int, str, str]]


class AFew(Days):
    """Days on which a fact, and a mart that reads it, are built and published."""

    models = ("+fact_orders", "+int_user_first_orders", "path:snapshots")


@pytest.fixture(scope="module")
def folder(dbts: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The dbt project, in which somebody has changed a fact and its unit test: addresses in it are longer.

    The environment names it, a state folder, who develops, and where psql is; dbt parses in a fork.
    """
    home = tmp_path_factory.mktemp("branch")
    shutil.copytree(PROJECT_ROOT / "dbt", home / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    fact = home / "dbt" / FACT
    fact.write_text(fact.read_text().replace("addresses.address as", "addresses.address || ', Earth' as"))
    units = fact.with_name("_core__unit_tests.yml")
    units.write_text(
        units.read_text().replace("shipping_address: 1 Fern Lane,", "shipping_address: '1 Fern Lane, Earth',")
    )
    with pytest.MonkeyPatch.context() as environment:
        fork_dbt(dbts, environment)
        environment.setenv("GREENERY_DBT_DIR", str(home / "dbt"))
        environment.setenv("GREENERY_STATE_DIR", str(home / "state"))
        environment.setenv("WAREHOUSE_DEVELOPER_USER", roles.DEVELOPER)
        environment.setenv("PATH", f"{Path(postgres.binary('psql')).parent}{os.pathsep}{os.environ['PATH']}")
        yield home / "dbt"


@pytest.fixture
def days(shop: KeptShop, projects: Project, folder: Path) -> AFew:
    """A shop of which a run is published, with the roles, and no branch."""
    days = AFew(shop, projects, seed=1)
    days.come_to("a_few_published", 1, days.run)
    roles.ensure(shop.connection, login=True)
    return days


@pytest.fixture
def make(days: AFew, capfd: pytest.CaptureFixture[str]) -> Make:
    """What `make branch` does: its exit code, and what it prints on stdout and stderr."""

    def make(*command: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = branch.main([*command])
        return code, *capfd.readouterr()

    return make


def test_what_is_built_is_ones_own_and_all_else_is_what_is_published(make: Make, days: AFew, shop: KeptShop) -> None:
    code, out, err = make("--name", "ana", "build", "fact_orders")
    assert code == 0, out + err
    assert f"branch_ana.fact_orders, {shop.value('select count(*) from analytics.fact_orders')} rows, " in out
    ours = "select bool_and(shipping_address like '%, Earth') from {}fact_orders"
    assert (shop.value(ours.format("branch_ana.")), shop.value(ours.format("analytics."))) == (True, False)
    assert shop.value("select to_regclass('branch_ana.int_user_first_orders')") is None

    query = f"{ours.format('')} where exists (select from int_user_first_orders)"
    assert make("--name", "ana", "psql", "-Atc", query)[:2] == (0, "t\n")


def test_what_is_built_next_reads_ones_own(make: Make, shop: KeptShop) -> None:
    make("--name", "ana", "build", "fact_orders")
    first = "select min(order_id) from branch_ana.fact_orders"
    shop.query(f"delete from branch_ana.fact_orders where order_id <> ({first})")
    _, _, err = make("--name", "ana", "build", "int_user_first_orders")
    assert shop.value("select count(*) from branch_ana.int_user_first_orders") == 1
    [said] = [line for line in err.splitlines() if line.startswith("Read from branch_ana as they were built before: ")]
    assert "fact_orders" in said


def test_a_snapshot_goes_on_from_the_published_one_each_time(make: Make, shop: KeptShop) -> None:
    published = shop.value("select count(*) from snapshots.orders_snapshot")
    for _ in range(2):
        code, out, _ = make("--name", "ana", "build", "orders_snapshot")
        assert code == 0, out
        assert shop.value("select count(*) from branch_ana_snapshots.orders_snapshot") == published
        shop.query("delete from branch_ana_snapshots.orders_snapshot")


def test_two_branches_and_a_daily_run_leave_each_other_as_they_are(make: Make, days: AFew, shop: KeptShop) -> None:
    assert make("--name", "ana", "build", "fact_orders")[0] == 0
    with closing(open_connection("bob", replace(settings.warehouse(), user=roles.DEVELOPER))) as bob:
        sandbox.create(bob, "branch_bob", "a test")
        with bob.cursor() as cursor:
            cursor.execute("create table branch_bob.fact_orders as select 'of bob' as order_id")
        bob.commit()
        days.load_a_day()
        days.run()  # which compares what it published with a full build
    assert publication_notes(shop) == []
    assert shop.query("select order_id from branch_bob.fact_orders") == [("of bob",)]
    assert shop.value("select bool_and(shipping_address like '%, Earth') from branch_ana.fact_orders")
    assert [line.split()[0] for line in make("list")[1].splitlines()] == ["branch_ana", "branch_bob"]


def publication_notes(shop: KeptShop) -> list[str]:
    """Those of what was published last."""
    return shop.value("select notes from ops.publications order by publication_id desc limit 1")


def test_while_somebody_builds_in_it_the_branch_is_theirs_and_can_be_queried(make: Make) -> None:
    with closing(open_connection("at work", replace(settings.warehouse(), user=roles.DEVELOPER))) as at_work:
        sandbox.create(at_work, "branch_ana", "a test")
        for command in (("build", "fact_orders"), ("drop",)):
            code, out, err = make("--name", "ana", *command)
            assert (code, out) == (1, "")
            assert f"branch_ana is in use by {sandbox.all_of(at_work)[0].by}" in err
            assert f"(at work, pid {at_work.info.backend_pid})" in err
        assert make("--name", "ana", "psql", "-Atc", "select 1")[:2] == (0, "1\n")


def test_it_says_how_to_use_it_in_words_that_a_shell_takes(make: Make) -> None:
    code, out, _ = make("--name", "Ana's try; exit 3")
    assert code == 0
    done = subprocess.run(["sh", "-eu", "-c", f"{out}\npsql -Atc 'show search_path'"], capture_output=True, text=True)
    assert done.stdout == "branch_ana_s_try_exit_3,branch_ana_s_try_exit_3_staging,analytics\n", done.stderr


def test_a_branch_is_dropped_when_it_is_asked_for_or_not_used_for_long(make: Make, shop: KeptShop) -> None:
    assert make("--name", "ana")[0] == make("--name", "bob")[0] == 0
    assert make("--name", "ana", "drop")[::2] == (0, "branch_ana is dropped.\n")
    assert make("--name", "ana", "drop")[::2] == (0, "There is no branch_ana.\n")
    noted = '{"purpose": "a test", "by": "bob", "last_used": "2020-01-01T00:00:00+00:00"}'
    shop.query("comment on schema branch_bob is %s", noted)
    assert "branch_bob was not used for 14 days and is dropped." in make("--name", "ana")[2]
    assert [line.split()[0] for line in make("list")[1].splitlines()] == ["branch_ana"]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("--name", "…"), "can't name a sandbox"),
        (("--name", "ana", "build", "no_such_model"), "No model of the project in"),
        (("--name", "ana", "build", "tag:"), "nothing was built"),
    ],
)
def test_what_can_not_be_is_refused_in_a_sentence(make: Make, command: tuple[str, ...], says: str) -> None:
    code, out, err = make(*command)
    assert (code, out) == (1, "")
    assert says in err
    assert "Traceback" not in err


def test_a_model_that_fails_is_told_with_its_reason_and_the_exit_code(make: Make, folder: Path, shop: KeptShop) -> None:
    fact = folder / FACT
    before = fact.read_text()
    try:
        fact.write_text(before.replace("orders.order_total,", "orders.order_total / 0 as order_total,"))
        code, out, _ = make("--name", "ana", "build", "fact_orders")
    finally:
        fact.write_text(before)
    assert code == 1
    assert "fact_orders: " in out
    assert "division by zero" in out
    assert shop.value("select to_regclass('branch_ana.fact_orders')") is None


def test_without_a_role_to_develop_as_it_says_what_is_missing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAREHOUSE_DEVELOPER_USER")
    code, _, err = make("list")
    assert code == 1
    assert err.startswith("WAREHOUSE_DEVELOPER_PASSWORD is not set")
