"""Another dbt project, put in place as docs/own-project.md says, run for three days on a real scheduler and changed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import pytest

from include.daily import DAG_ID
from include.local.demo import Outcome
from include.settings import PROJECT_ROOT
from tests.deployment import EMPTY, Deployment
from tests.own_project.page import blocks, follow

pytestmark = [pytest.mark.db, pytest.mark.stack]

DAYS = 3  # two of them fill a buffer each, and the third goes on in the first


@contextmanager
def deployed(deployment: Deployment, project: Path, task: str) -> Iterator[None]:
    """For the time of the block the deployment runs another project, which has this task."""
    deployment.come_to(EMPTY)
    ours = deployment.dbt_project
    aside = ours.with_name("aside")
    ours.rename(aside)
    shutil.copytree(project, ours)
    try:
        deployment.draw(task)
        yield
    finally:
        shutil.rmtree(ours)
        aside.rename(ours)
        deployment.draw("transform.models.marts.core.dim_users_model_build")


class CoffeeDay(NamedTuple):
    """How a day's runs ended, and what is published then of each guest."""

    runs: list[Outcome]
    guests: list[tuple]


@pytest.fixture(scope="module")
def coffee(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[CoffeeDay]]:
    """The days of a project of staging, marts and seeds; on the last one two runs are triggered at once."""
    project = tmp_path_factory.mktemp("projects") / "coffee"
    shutil.copytree(Path(__file__).parent / "projects/coffee", project)
    follow(project)
    with deployed(deployment, project, "transform.models.marts.guests_model_build"):
        deployment.query(TILL)
        deployment.query(blocks("sql")[0])
        days = []
        for day in range(1, DAYS + 1):
            deployment.query(A_DAY.format(day=day))
            triggered = [deployment.api.trigger(DAG_ID) for _ in range(2 if day == DAYS else 1)]
            runs = [deployment.outcome(run_id) for run_id in triggered]
            guests = "select guest_id, visits, spent, is_regular from analytics.guests order by 1"
            days.append(CoffeeDay(runs, deployment.query(guests) if runs[-1].state == "success" else []))
        yield days


def test_a_project_of_staging_marts_and_seeds_is_published_each_day(
    deployment: Deployment, coffee: list[CoffeeDay]
) -> None:
    for day, (runs, guests) in enumerate(coffee, 1):
        for run in runs:
            assert (day, run.state) == (day, "success"), run.messages
            assert run.messages[0].startswith("✅")
            assert "orders" not in run.messages[0]
        visits = {guest: day + 1 - guest for guest in range(1, day + 1)}
        assert guests == [(guest, times, 4 * times, times > 1) for guest, times in visits.items()]
    assert deployment.query("select city from analytics.branches order by 1") == [("Riga",), ("Tartu",)]
    assert deployment.query("select count(*) from analytics.stg_lines") == [(2 * sum(visits.values()),)]


def test_runs_that_are_triggered_at_once_follow_each_other(deployment: Deployment, coffee: list[CoffeeDay]) -> None:
    first, second = sorted(
        (deployment.api.run(DAG_ID, run.run_id) for run in coffee[-1].runs), key=itemgetter("start_date")
    )
    assert first["state"] == second["state"] == "success"
    assert first["end_date"] <= second["start_date"]


def test_a_model_that_comes_or_goes_is_drawn_without_a_restart(deployment: Deployment, coffee: list[CoffeeDay]) -> None:
    usual = ConfigParser(interpolation=None)
    usual.read(PROJECT_ROOT / "airflow.cfg")
    assert usual.getint("dag_processor", "min_file_process_interval") < 60, "the docs say: within a minute"
    model, task = deployment.dbt_project / "models/marts/regulars.sql", "transform.models.marts.regulars_model_build"
    model.write_text("select guest_id from {{ ref('guests') }} where is_regular")
    deployment.read_until(lambda tasks: task in tasks, "the new model is drawn")
    model.unlink()
    deployment.read_until(lambda tasks: task not in tasks, "the model that is gone is taken away")


# What the tills send, before the first day; on each day a guest comes for the first time, and all former ones again.
TILL = """
create schema till;
create table till.raw_guests (id integer, name text);
create table till.raw_goods (sku text, name text, kind text, price integer);
create table till.raw_tickets (id integer, branch integer, guest integer, sold_at timestamp);
create table till.raw_lines (id integer, ticket integer, sku text);
insert into till.raw_goods values ('CO', 'coffee', 'drink', 150), ('BU', 'bun', 'food', 250);
"""
A_DAY = """
insert into till.raw_guests values ({day}, 'guest {day}');
insert into till.raw_tickets select {day} * 100 + id, 1 + id % 2, id, now() at time zone 'UTC' from till.raw_guests;
insert into till.raw_lines
select 10 * tickets.id + row_number() over (partition by tickets.id order by sku), tickets.id, sku
from till.raw_tickets as tickets
cross join till.raw_goods
where tickets.id / 100 = {day};
"""
