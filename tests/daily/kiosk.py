"""A small shop on a deployment of its own, whose tasks can each be stopped in the middle of their work, at a gate."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import psutil
import psycopg2
from psycopg2.extensions import connection as Connection

from include.daily import DAG_ID
from include.local import warehouse
from tests.deployment import Deployment
from tests.waiting import wait_for

LIMIT_SECONDS = 180
FIRST, SECOND = "stg_orders", "orders"

# A project with every kind of task. What it builds waits at a gate: a lock that the test holds while the gate is shut.
PROJECT = """
name: kiosk
profile: greenery
version: 1.0.0
models:
  +pre-hook: ["{{ before_build() }}", "select public.gate('{{ this.name }}')"]
  +post-hook: "{{ after_build() }}"
  kiosk:
    staging: {+schema: staging, +materialized: view}
    marts: {+materialized: table, +incremental_strategy: replace_changed, +on_schema_change: fail}
snapshots:
  +schema: snapshots
  +pre-hook: ["{{ one_at_a_time() }}", "select public.gate('snapshot')"]
"""
FILES = {
    "dbt_project.yml": PROJECT,
    "models/staging/_sources.yml": "sources: [{name: shop, schema: raw, tables: [{name: orders}]}]",
    "models/staging/stg_orders.sql": "select order_id, order_total, _loaded_at from {{ source('shop', 'orders') }}",
    "models/marts/orders.sql": """
{{ config(materialized='incremental', meta={'key': 'order_id', 'follows': [{'of': 'stg_orders'}]}) }}
select order_id, order_total as paid from {{ ref('stg_orders') }} {{ only_changed() }}
""",
    "models/marts/versions.sql": "select order_id, count(*) as versions from {{ ref('orders_kept') }} group by 1",
    "models/_models.yml": """
models:
  - name: stg_orders
    columns: [{name: order_id, data_tests: [unique]}]
  - name: orders
    columns: [{name: order_id, data_tests: [unique]}]
""",
    "snapshots/_snapshots.yml": """
snapshots:
  - name: orders_kept
    relation: source('shop', 'orders')
    config: {strategy: check, check_cols: [order_total], unique_key: order_id}
""",
    "tests/nobody_is_paid.sql": """
select order_id from {{ source('shop', 'orders') }} where order_total < 0
union all
select 'no gate' where not public.gate('check_sources')
""",
    "tests/each_order_has_versions.sql": """
select order_id from {{ ref('orders') }} full join {{ ref('versions') }} using (order_id)
where paid is null or versions is null
union all
select 'no gate' where not public.gate('cross_model_tests')
""",
}
GATE = """
create function public.gate(name text) returns boolean language plpgsql as $$
begin
    perform pg_advisory_lock_shared(hashtext('gate ' || name));
    return pg_advisory_unlock_shared(hashtext('gate ' || name));
end
$$
"""
OTHER_LOCKS = {
    "publish": "select pg_advisory_lock(hashtext('greenery exchange'))",
    "report": "lock table ops.messages in exclusive mode",
}


_LOOKS_AFTER_TASKS = re.compile("airflow worker -- LocalExecutor")


def gate_of(task_id: str) -> str:
    """What a task waits at: a node's name, or its own."""
    name = task_id.rsplit(".", 1)[-1].removesuffix("_model_build")
    return FIRST if name == "build_ahead" else name


@dataclass
class Gates:
    """The gates that are shut, each by a session of its own."""

    deployment: Deployment
    shut: dict[str, Connection] = field(default_factory=dict)

    def shut_at(self, *task_ids: str) -> None:
        """Let the tasks come this far."""
        for name in {gate_of(task_id) for task_id in task_ids} - self.shut.keys():
            where = self.deployment.server.database(warehouse.NAME)
            self.shut[name] = psycopg2.connect(**where.libpq(), application_name=f"gate {name}")
            with self.shut[name].cursor() as cursor:
                cursor.execute(OTHER_LOCKS.get(name, f"select pg_advisory_lock(hashtext('gate {name}'))"))

    def open(self, task_id: str) -> None:
        """Let the task go on, and its next try."""
        if gate := self.shut.pop(gate_of(task_id), None):
            with suppress(psycopg2.Error):  # its server may be gone
                gate.close()

    def waits_at(self, task_id: str) -> psutil.Process | None:
        """The living process that waits at a task's gate; a session of one that was killed waits on."""
        gate = self.shut[gate_of(task_id)].info.backend_pid
        ports = self.deployment.query(
            f"select client_port from pg_stat_activity where {gate} = any(pg_blocking_pids(pid))"
        )
        for (port,) in ports:
            for one in psutil.net_connections("tcp"):
                if one.laddr.port == port and one.raddr and one.raddr.port == self.deployment.server.port and one.pid:
                    return psutil.Process(one.pid)
        return None


@dataclass
class Kiosk:
    """The small project as the deployment runs it: its days, and what has to be so after each."""

    deployment: Deployment
    tasks: list[str]
    day: int = 0
    schedulers: set[int] = field(default_factory=set)
    recovered: dict[str, list[float]] = field(default_factory=dict)

    def next_day(self) -> None:
        """A new order comes in, and the first one has another total."""
        self.day += 1
        self.deployment.query(
            f"insert into raw.orders (order_id, order_total, _loaded_at) values ('{self.day:03}', 7, now());"
            f"update raw.orders set order_total = {100 + self.day}, _loaded_at = now()"
            " where order_id = '001'"
        )

    def expected(self, day: int) -> list[tuple]:
        """A full build of the raw of a day: of each order what was paid, and how many totals it had."""
        return [(f"{one:03}", 7.0 if one > 1 else 100.0 + day, 1 if one > 1 else day) for one in range(1, day + 1)]

    def published(self) -> list[tuple]:
        """What people read of both marts, in one statement."""
        return self.deployment.query(
            "select order_id, paid::float, versions from analytics.orders full join analytics.versions using (order_id)"
            " order by order_id"
        )

    def is_as_before(self) -> None:
        """People read yesterday's marts."""
        assert self.published() == self.expected(self.day - 1)

    def has_ended(self, run_id: str) -> None:
        """The run has published the day, has said so once, and left nothing."""
        self.is_published(run_id)
        self.nothing_is_left()

    def is_published(self, run_id: str) -> None:
        """The run has published the day, and has said so once."""
        outcome = self.deployment.outcome(run_id)
        assert (outcome.state, {*outcome.task_states.values()}) == ("success", {"success"}), outcome
        assert self.published() == self.expected(self.day)
        assert [message.splitlines()[0] for message in outcome.messages] == self.heard(), outcome.messages
        [said] = self.heard()
        assert said.startswith("✅"), said
        for word in ("failed", "killed", "error"):
            assert word not in outcome.messages[0]
        assert self.deployment.query(f"select count(*) from ops.publications where run_id = '{run_id}'") == [(1,)]

    def heard(self) -> list[str]:
        """What Slack was told since it was asked last to forget."""
        return [message["text"] for message in self.deployment.slack.accepted]

    def forget(self) -> None:
        """Slack has heard nothing."""
        self.deployment.slack.accepted.clear()

    def scheduler(self) -> int:
        """The process id of the one that is up."""
        self.schedulers.add(leader := self.deployment.stack._read_state().pids["scheduler"])
        return leader

    def nothing_is_left(self) -> None:
        """No session, lock, lease, half-built relation or task's process."""
        left = (
            "select application_name, state, left(query, 80) from pg_stat_activity"
            f" where datname = '{warehouse.NAME}' and application_name not in ('', 'test')"
            " and backend_type = 'client backend'"
        )
        wait_for(lambda: not self.deployment.query(left), "no session is left of who ended", LIMIT_SECONDS)
        query = self.deployment.query
        assert query("select holder from ops.leases where released_at is null") == []
        assert query("select from pg_locks where locktype = 'advisory'") == []
        assert query("select relname from pg_class where relname ~ '__dbt_(tmp|backup)'") == []
        self.scheduler()
        wait_for(lambda: not self.at_work(), "no task is at work", LIMIT_SECONDS)

    def at_work(self) -> list[psutil.Process]:
        """The processes of tasks, those that have lost their supervisor among them."""
        return [one for one in self._titled() if not _LOOKS_AFTER_TASKS.match(one.info["title"])]

    def workers(self) -> list[psutil.Process]:
        """The processes of which each looks after one task at a time, and starts it."""
        return [one for one in self._titled() if _LOOKS_AFTER_TASKS.match(one.info["title"])]

    def _titled(self) -> Iterator[psutil.Process]:
        """Those of this deployment that call themselves a worker, as tasks do too."""
        for process in psutil.process_iter(["cmdline"]):
            process.info["title"] = " ".join(process.info["cmdline"] or ())
            with suppress(psutil.Error, ProcessLookupError):
                if process.info["title"].startswith("airflow worker -- ") and os.getsid(process.pid) in self.schedulers:
                    yield process

    def ordinary_run(self) -> None:
        """A day on which nothing happens: each task is tried once."""
        self.next_day()
        self.forget()
        run_id = self.deployment.api.trigger(DAG_ID)
        self.has_ended(run_id)
        assert {task: self.of(run_id, task)["try_number"] for task in self.tasks} == dict.fromkeys(self.tasks, 1)

    def of(self, run_id: str, task_id: str) -> Mapping:
        """A task's last try; nothing while Airflow's API is away."""
        with suppress(httpx.HTTPError):
            return self.deployment.task(run_id, task_id)
        return {"state": None}


def in_order(tasks: set[str]) -> list[str]:
    """The tasks of a run as they come to their gates."""
    kinds = ("check_sources", "build_ahead", "transform", "snapshot", "history", "cross", "publish", "report")
    order = sorted(tasks, key=lambda task: ([task.startswith(kind) for kind in kinds].index(True), -len(task)))
    assert [gate_of(task) for task in order if task.startswith("transform")] == [FIRST, SECOND]
    return order
