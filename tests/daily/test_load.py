"""A run while a hundred people query and twenty look at the page: none of them notices, and nor does the run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from threading import Event

import httpx
import pytest

from include.daily import DAG_ID
from include.local.airflow_api import AirflowApi
from plugins.data_health.app import app
from tests.daily.test_faults import reading
from tests.deployment import Day, Deployment
from tests.meanwhile import meanwhile
from tests.plugins.routes import path
from tests.waiting import wait_for

pytestmark = [pytest.mark.db, pytest.mark.stack, pytest.mark.torture]

READERS, USERS = 100, 20
# How long each of them thinks before the next question, in seconds.
THINKS = 1.0
# Sessions, leases and locks that are left, but for the few connections that the page keeps.
LEFT = """
select 'session', application_name || ' ' || state
from pg_stat_activity
where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
    and application_name <> 'greenery data health'
union all
select 'lease', holder from ops.leases where released_at is null
union all
select 'lock', mode from pg_locks where locktype = 'advisory'
"""
KEPT_BY_THE_PAGE = "select state from pg_stat_activity where application_name = 'greenery data health'"
SCHEMAS = "select nspname from pg_namespace where nspname !~ '^pg_' order by 1"


@contextmanager
def looking(deployment: Deployment, paths: list[str]) -> Iterator[list[tuple[str, object]]]:
    """All the while people look at one path of the page after the other: each with its status, or the error."""
    seen: list[tuple[str, object]] = []
    in_turn = itertools.cycle(paths)

    def looks(client: httpx.Client, over: Event) -> None:
        with closing(client):
            while not over.wait(THINKS):
                asked = next(in_turn)
                try:
                    seen.append((asked, client.get(asked).status_code))
                except httpx.HTTPError as error:
                    seen.append((asked, repr(error)))

    with meanwhile(*(partial(looks, logged_in(deployment)) for _ in range(USERS))):
        yield seen


def logged_in(deployment: Deployment) -> httpx.Client:
    """Somebody's session of Airflow."""
    return AirflowApi(deployment.api.url, deployment.api.user, deployment.api.password).client


def pages(deployment: Deployment, run_id: str) -> list[str]:
    """What of the page is asked by GET, of things that there are."""
    [[message_id]] = deployment.query("select max(message_id) from ops.messages")
    [[day]] = deployment.query("select max(day)::text from analytics.daily_metrics")
    [[test]] = deployment.query("select max(name) from ops.node_results where resource_type = 'test'")
    there = {"run_id": run_id, "message_id": str(message_id), "day": day, "metric": "revenue"}
    names = {"models": "fact_orders", "tests": test, "static": "style.css"}
    found = []
    for route in app.routes:
        if "GET" in route.methods and "{rest" not in route.path:
            kind = next((kind for kind in names if f"/{kind}/" in route.path), "models")
            found.append(path(route.path, **there, name=names[kind]))
    series = "unusual/series?about=source.greenery.greenery.orders&measure=rows"
    return sorted({one.replace("unusual/series", series) for one in found})


def test_a_hundred_readers_and_twenty_users_of_the_page_do_not_notice_a_run_nor_it_them(
    deployment: Deployment, first_day: Day
) -> None:
    deployment.come_to("first_day")
    deployment.play_day()
    paths, schemas = pages(deployment, first_day.runs[0].run_id), deployment.query(SCHEMAS)
    with closing(logged_in(deployment)) as alone:
        quiet = {(asked, alone.get(asked).status_code) for asked in paths}
    with reading(deployment, READERS, THINKS) as readers, looking(deployment, paths) as looked:
        outcome = deployment.run()
        published = deployment.published()
        until = readers.read + READERS
        wait_for(lambda: readers.wrong or readers.read >= until, "what is published is read")

    print(f"{readers.read} reads, {len(looked)} answers of the page")
    assert readers.wrong == []
    assert (path("/"), 200) in quiet
    assert set(looked) == quiet, "each path answers as it does on a quiet machine"
    assert (outcome.state, {*outcome.task_states.values()}) == ("success", {"success"})
    [message] = outcome.messages
    assert message.startswith("✅")
    wait_for(lambda: deployment.query(LEFT) == [], "nobody is left")
    assert len(deployment.query(KEPT_BY_THE_PAGE)) <= 4
    assert deployment.query(SCHEMAS) == schemas

    again = deployment.outcome(deployment.api.trigger(DAG_ID, {"full_refresh": True}))
    assert again.state == "success", "the next run is one like any other"
    assert published != first_day.published
    assert deployment.published() == published, "what was published is a full build"
