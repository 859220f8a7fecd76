"""Other people's dbt projects, put in place as docs/own-project.md says, and run for six days on a real scheduler."""

from __future__ import annotations

import filecmp
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dbt.include.starter_project
import pytest
import yaml

from include.settings import PROJECT_ROOT
from tests.deployment import EMPTY, Deployment

pytestmark = [pytest.mark.db, pytest.mark.stack]

PAGE = (PROJECT_ROOT / "docs/own-project.md").read_text()
DAYS = 6


def blocks(language: str) -> list[str]:
    """The page's blocks of a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def follow(project: Path) -> None:
    """Do to a project's files what the page says."""
    copy, *_ = blocks("sh")
    environment = os.environ | {"PROJECT": str(project)}
    subprocess.run(["sh", "-euc", copy], cwd=PROJECT_ROOT, env=environment, check=True)
    [settings] = blocks("yaml")
    file = project / "dbt_project.yml"
    content = yaml.safe_load(file.read_text())
    for kind, values in yaml.safe_load(settings).items():
        content[kind] = content.get(kind, {}) | values
    file.write_text(yaml.safe_dump(content))


@contextmanager
def deployed(deployment: Deployment, project: Path, task: str) -> Iterator[None]:
    """For the time of the block the deployment runs another project, which has this task."""
    deployment.come_to(EMPTY)
    ours = deployment.dbt_project
    aside = ours.with_name("aside")
    ours.rename(aside)
    shutil.copytree(project, ours)
    try:
        draw(deployment, task)
        yield
    finally:
        shutil.rmtree(ours)
        aside.rename(ours)
        draw(deployment, "transform.models.marts.core.dim_users_model_build")


def draw(deployment: Deployment, task: str) -> None:
    """Have the DAG drawn of the project as it is now, with this task among others."""
    project, current = deployment.dbt_project, deployment.stack.home / "dbt" / "current"
    models = [model.relative_to(project) for model in (project / "models").rglob("*.sql")]
    end = time.monotonic() + 180
    while task not in deployment.api.tasks("greenery_daily") or filecmp.cmpfiles(project, current, models)[0] != models:
        assert time.monotonic() < end, f"{task} was not drawn within three minutes"
        deployment.read_again()  # a file that is just being read is not read once more
        time.sleep(2)


def test_a_project_as_dbt_init_makes_it_is_published_six_days(deployment: Deployment, tmp_path: Path) -> None:
    project = tmp_path / "starter"
    shutil.copytree(Path(dbt.include.starter_project.__file__).parent, project)
    file = project / "dbt_project.yml"
    file.write_text(file.read_text().format(project_name="starter", profile_name="starter"))
    follow(project)
    task = "transform.models.example.my_first_dbt_model_model_build"
    with deployed(deployment, project, task):
        refused = deployment.run()
        assert refused.state == "failed"
        assert "Failed: model my_first_dbt_model\n• id: 1 row without a value" in refused.messages[0]
        assert "not published: 1 test failed on my_first_dbt_model" in refused.messages[0]
        assert deployment.published() == {}
        model = deployment.dbt_project / "models/example/my_first_dbt_model.sql"
        model.write_text(model.read_text().replace("-- where", "where"))
        draw(deployment, task)
        for day in range(DAYS):
            run = deployment.run()
            assert (day, run.state) == (day, "success"), run.messages
            assert run.messages[0].startswith("✅")
            assert deployment.query("select id from analytics.my_second_dbt_model") == [(1,)]


def test_a_project_of_staging_marts_and_seeds_is_published_six_days(deployment: Deployment, tmp_path: Path) -> None:
    project = tmp_path / "coffee"
    shutil.copytree(Path(__file__).parent / "projects/coffee", project)
    follow(project)
    with deployed(deployment, project, "transform.models.marts.guests_model_build"):
        deployment.query(TILL)
        deployment.query(blocks("sql")[0])
        for day in range(1, DAYS + 1):
            deployment.query(A_DAY.format(day=day))
            run = deployment.run()
            assert (day, run.state) == (day, "success"), run.messages
            assert run.messages[0].startswith("✅")
            assert "orders" not in run.messages[0]
            spent = deployment.query("select guest_id, visits, spent, is_regular from analytics.guests order by 1")
            visits = {guest: day + 1 - guest for guest in range(1, day + 1)}
            assert spent == [(guest, times, 4 * times, times > 1) for guest, times in visits.items()]
        assert deployment.query("select city from analytics.branches order by 1") == [("Riga",), ("Tartu",)]
        assert deployment.query("select count(*) from analytics.stg_lines") == [(2 * 21,)]


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
