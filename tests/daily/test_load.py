"""A run while a hundred people query and twenty look at the page: none of them notices, and nor does the run."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field

import httpx
import psycopg2
import pytest

from include.local import postgres, warehouse
from include.local.airflow_api import AirflowApi
from include.warehouse import roles
from plugins.data_health.app import app
from tests.deployment import Day, Deployment
from tests.plugins.routes import path
from tests.waiting import wait_for

pytestmark = [pytest.mark.db, pytest.mark.stack, pytest.mark.torture]

READERS, USERS = 100, 20
# How long each of them thinks, in seconds, before he asks again.
READER_THINKS, USER_THINKS = (0.5, 1.5), (1.0, 3.0)
# In one statement, so of one moment: the orders of one mart, and what another says that there are.
ACROSS = """
select orders.number, metrics.number
from (select count(*) as number from analytics.fact_orders) as orders
cross join (select sum(value)::bigint as number from analytics.daily_metrics where metric = 'orders') as metrics
"""
# What stays of what people asked: the page keeps some of its connections.
SESSIONS = """
select application_name, state from pg_stat_activity
where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
"""
PAGES_OWN, PAGE_KEEPS = ("greenery data health", "idle"), 4


@dataclass
class Crowd:
    """What people saw: pairs of numbers, by how often; answers of the page, by path and status; what went wrong."""

    read: Counter[tuple[int, int]] = field(default_factory=Counter)
    answered: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def crowded(deployment: Deployment, paths: list[str]) -> Iterator[Crowd]:
    """For the time of the block people query, each over a connection of their own, and look at the page."""
    crowd, over = Crowd(), threading.Event()
    where = deployment.server.database(warehouse.NAME, roles.READER)

    def again_and_again(ask: Callable[[], None], thinks: tuple[float, float]) -> None:
        while not over.wait(random.uniform(*thinks)):  # noqa: S311
            try:
                ask()
            except (psycopg2.Error, httpx.HTTPError) as error:
                with crowd.lock:
                    crowd.wrong.append(f"{type(error).__name__}: {error}")

    with ExitStack() as sessions:

        def reader() -> Callable[[], None]:
            connection = sessions.enter_context(closing(psycopg2.connect(**where.libpq())))
            connection.autocommit = True

            def ask() -> None:
                with connection.cursor() as cursor:
                    cursor.execute(ACROSS)
                    [seen] = cursor.fetchall()
                with crowd.lock:
                    crowd.read[seen] += 1

            return ask

        def user() -> Callable[[], None]:
            client = sessions.enter_context(closing(logged_in(deployment)))

            def ask() -> None:
                asked = random.choice(paths)  # noqa: S311
                status = client.get(asked).status_code
                with crowd.lock:
                    crowd.answered[asked, status] += 1

            return ask

        people = [
            *(threading.Thread(target=again_and_again, args=(reader(), READER_THINKS)) for _ in range(READERS)),
            *(threading.Thread(target=again_and_again, args=(user(), USER_THINKS)) for _ in range(USERS)),
        ]
        for one in people:
            one.start()
        try:
            yield crowd
        finally:
            over.set()
            for one in people:
                one.join()


def logged_in(deployment: Deployment) -> httpx.Client:
    """A session of Airflow's."""
    return AirflowApi(deployment.stack.airflow(deployment.server).url, *deployment.stack.login()).client


@contextmanager
def counting_connections(deployment: Deployment) -> Iterator[list[int]]:
    """How many connections the server had at each look, during the block."""
    found: list[int] = []
    over = threading.Event()

    def count() -> None:
        with postgres.admin(deployment.server) as cursor:
            while not over.wait(0.2):
                cursor.execute("select count(*) from pg_stat_activity where backend_type = 'client backend'")
                found.append(cursor.fetchone()[0])

    counts = threading.Thread(target=count)
    counts.start()
    try:
        yield found
    finally:
        over.set()
        counts.join()


def pages(deployment: Deployment, run_id: str) -> list[str]:
    """Every path of the page that is asked by GET, of what there is."""
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


def what_is_held(deployment: Deployment) -> list[tuple]:
    """Leases and locks, and schemas."""
    return [
        *deployment.query("select 'lease', holder from ops.leases where released_at is null"),
        *deployment.query("select 'lock', mode from pg_locks where locktype = 'advisory'"),
        *deployment.query("select 'schema', nspname from pg_namespace where nspname !~ '^pg_' order by 2"),
    ]


def test_a_hundred_readers_and_twenty_users_of_the_page_do_not_notice_a_run_nor_it_them(
    deployment: Deployment, first_day: Day, second_day: Day
) -> None:
    deployment.come_to("first_day")
    deployment.play_day()
    paths, held = pages(deployment, first_day.runs[0].run_id), what_is_held(deployment)
    with closing(logged_in(deployment)) as one:
        quiet = {asked: one.get(asked).status_code for asked in paths}
    [before] = deployment.query(ACROSS)
    with crowded(deployment, paths) as crowd, counting_connections(deployment) as connections:
        outcome = deployment.run()
        wait_for(lambda: crowd.read[after(deployment)] >= READERS, "what is published is read")
    now = after(deployment)

    print(f"read {crowd.read}, page {crowd.answered.total()}, connections {max(connections)}")
    assert crowd.wrong == []
    assert before != now
    assert crowd.read.keys() == {before, now}, "each pair is of one publish"
    assert before[0] == before[1]
    assert now[0] == now[1]
    assert {asked: status for asked, status in crowd.answered if status != quiet[asked]} == {}
    assert outcome.state == "success"
    [message] = outcome.messages
    assert message.startswith("✅")
    marts = ("fact_orders", "fact_order_items", "daily_metrics")
    published = deployment.published()
    assert {name: published[name] == second_day.published[name] for name in marts} == dict.fromkeys(marts, True)

    [[limit]] = deployment.query("select setting::int from pg_settings where name = 'max_connections'")
    assert READERS < max(connections) < limit
    wait_for(lambda: set(deployment.query(SESSIONS)) <= {PAGES_OWN}, "every session but the page's is over")
    assert len(deployment.query(SESSIONS)) <= PAGE_KEEPS
    assert what_is_held(deployment) == held
    assert deployment.run().state == "success", "the next run is one like any other"


def after(deployment: Deployment) -> tuple:
    """What a reader reads now."""
    [seen] = deployment.query(ACROSS)
    return seen
