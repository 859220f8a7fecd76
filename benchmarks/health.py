"""How long the data-health page takes with a year of history and ten readers: the last part of `make bench`.

A real Airflow runs a day of the demo shop; what it left in `ops` is copied to a year of days, some of them failed.
Then ten readers, each logged in, go from view to view without a pause. Last, twenty users do so while the next day
is run, and look at each view for some seconds.

    python -m benchmarks.health --days 365 --readers 10 --seconds 20 --users 20
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx

from benchmarks import folder, processes
from include import settings
from include.daily import DAG_ID
from include.demo_shop import demo as demo_shop
from include.local import demo, warehouse
from include.local.airflow_api import AirflowApi
from include.local.postgres import LocalPostgres
from include.local.progress import silent
from include.local.stack import Stack
from include.warehouse import connect

# The shop's first and only one; what came after has been told in the days since.
DAY = datetime.now(UTC).date() - timedelta(days=30)
VIEWS = (
    "/",
    "/history?days=30",
    "/history?days=365",
    "/models",
    "/models/fact_orders",
    "/tests",
    "/orders",
    "/inventory",
    "/messages",
    "/figures",
    f"/figures/revenue/{DAY}",
    "/unusual",
    "/unusual/series?about=source.greenery.greenery.orders&measure=rows&days=90",
    "/unusual/series?about=source.greenery.greenery.events&measure=rows&days=365",
    "/api/history?days=365",
)

# How long somebody looks at a view during a run, in seconds.
LOOKS = (1.0, 3.0)

# What one run left, once for each of the days before it; every thirtieth run fails in one test, and publishes nothing.
YEAR = """
create temporary table past on commit drop as
select
    days,
    runs.run_id,
    'past__' || days as past_id,
    runs.started_at - days * interval '1 day' as started_at,
    runs.release
from ops.runs
cross join generate_series(1, %(days)s) as days;

insert into ops.runs (run_id, started_at, release, changes_told_until)
select past_id, started_at, release, started_at from past;

insert into ops.node_results (
    run_id, task_id, attempt, unique_id, resource_type, name, status, severity, failures, message, seconds,
    rows_affected, failing_rows, recorded_at
)
select
    past_id, task_id, attempt, unique_id, resource_type, name,
    case
        when days %% 30 = 0 and resource_type = 'test' and abs(hashtext(unique_id)) %% 40 = days %% 40 then 'fail'
        else status
    end,
    severity, failures, message, seconds * (0.8 + random() * 0.4), rows_affected, failing_rows,
    recorded_at - days * interval '1 day'
from ops.node_results
join past using (run_id);

-- The one that is live has to be the newest.
insert into ops.publications (publication_id, published_at, run_id, schema_oid, data_as_of)
overriding system value
select
    -days, publications.published_at - days * interval '1 day', past_id, schema_oid,
    publications.data_as_of - days * interval '1 day'
from ops.publications
join past using (run_id)
where days %% 30 <> 0;

insert into ops.publication_loads (publication_id, table_name, loaded_at, rows)
select past.publication_id, table_name, loaded_at, rows
from ops.publication_loads
cross join (select publication_id from ops.publications where publication_id < 0) as past;

insert into ops.publication_models (publication_id, unique_id, checksum, code)
select past.publication_id, unique_id, checksum, code
from ops.publication_models
cross join (select publication_id from ops.publications where publication_id < 0) as past;

-- Each day of a metric was told by the publish after it, and otherwise by the nine that came then.
insert into ops.told (metric, day, publication_id, value, numerator, denominator, newest)
select metric, day, publications.publication_id, value * (0.9 + random() * 0.1), numerator, denominator, false
from ops.told
join ops.publications on (published_at at time zone 'UTC')::date - told.day between 1 and 10
where publications.publication_id < 0 and told.publication_id > 0;

with moved as (
    insert into ops.moves (publication_id, metric, period, starts, told, value, usual, adds_up, parts, causes)
    select publication_id, metric, 'day', day, value * 0.9, value, publication_id %% 3 <> 0, true,
        '[{"side": "numerator", "what": "late", "model": "fact_orders", "rows": 20, "amount": "1", "keys": ["a"],'
        ' "changed": []}]', '[]'
    from ops.told
    where publication_id < 0
    returning move_id
)

insert into ops.moved_rows (move_id, side, unique_id, key_column, key, what, after)
select move_id, 'numerator', 'model.greenery.fact_orders', 'order_id', key, 'late', 1
from moved
cross join generate_series(1, 20) as key;

insert into ops.metrics (run_id, metric, value)
select past_id, metric, value * (0.9 + random() * 0.2) from ops.metrics join past using (run_id);

insert into ops.observations (unique_id, column_name, measure, item, day, value, run_id, observed_at)
select
    unique_id, column_name, measure, item, day - days, value * (0.95 + random() * 0.1), past_id,
    observed_at - days * interval '1 day'
from ops.observations
join past using (run_id)
where day = (select max(day) from ops.observations)
on conflict (unique_id, column_name, measure, item, day) do nothing;

insert into ops.messages (run_id, kind, created_at, headline, body, blocks, sent_at, audience, number)
select
    past_id, case when days %% 30 = 0 then 'failed' else kind end, created_at - days * interval '1 day', headline, body,
    blocks, created_at - days * interval '1 day', audience, number
from ops.messages
join past using (run_id);
"""


def fill(server: LocalPostgres, days: int) -> int:
    """Make a year of the one day that there is; returns how many results `ops` has then."""
    with connect("greenery bench", warehouse.as_admin(server)) as connection, connection.cursor() as cursor:
        cursor.execute(YEAR, {"days": days})
        connection.commit()
        cursor.execute("select count(*) from ops.node_results")
        [[results]] = cursor.fetchall()
    with connect("greenery bench", warehouse.as_admin(server)) as connection:
        connection.commit()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("analyze")
    return results


def first(client: httpx.Client) -> dict[str, float]:
    """Milliseconds of each view when nobody has asked since something changed."""
    return {view: _ask(client, view) for view in VIEWS}


def read(
    clients: list[httpx.Client], is_over: Callable[[], bool], looks: tuple[float, float] = (0, 0)
) -> dict[str, list[float]]:
    """Milliseconds of each view, by many readers at once until it is over; how many seconds each looks at a view."""
    told: dict[str, list[float]] = defaultdict(list)

    def reader(client: httpx.Client, order: random.Random) -> None:
        while not is_over():
            view = order.choice(VIEWS)
            told[view].append(_ask(client, view))
            time.sleep(order.uniform(*looks))

    threads = [threading.Thread(target=reader, args=(one, random.Random(at))) for at, one in enumerate(clients)]  # noqa: S311
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def _ask(client: httpx.Client, view: str) -> float:
    began = time.monotonic()
    answer = client.get(f"{settings.HEALTH_PATH}{view}")
    answer.raise_for_status()
    return (time.monotonic() - began) * 1000


def during_a_run(stack: Stack, server: LocalPostgres, clients: list[httpx.Client]) -> dict[str, list[float]]:
    """The same while the shop's next day is run."""
    with connect("greenery bench", warehouse.as_loader(server)) as connection:
        demo_shop.play_day(connection, 2)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(demo.run_daily, stack, server)
        told = read(clients, running.done, LOOKS)
    if running.result().state != "success":
        raise SystemExit(f"{DAG_ID} failed under {len(clients)} users of the page")
    return told


def _table(alone: dict[str, float], together: dict[str, list[float]]) -> list[str]:
    lines = ["| view | first, ms | median, ms | p95, ms | asked |", "|---|---:|---:|---:|---:|"]
    everything = [one for times in together.values() for one in times]
    seen = [(view, together[view]) for view in VIEWS if len(together[view]) > 1]
    for view, times in [*seen, ("**all**", everything)]:
        p95 = statistics.quantiles(times, n=20)[-1]
        before = f"{alone[view]:.0f}" if view in alone else ""
        lines.append(f"| {view} | {before} | {statistics.median(times):.0f} | **{p95:.0f}** | {len(times)} |")
    return lines


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.health", description=main.__doc__)
    parser.add_argument("--days", type=int, default=365, help="days of history; default: %(default)s")
    parser.add_argument("--readers", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=20, help="default: %(default)s")
    parser.add_argument("--users", type=int, default=20, help="during a run; default: %(default)s")
    arguments = parser.parse_args()
    os.environ["GREENERY_SCHEDULE"] = ""
    with folder.working() as home:
        stack = Stack(home, silent())
        with stack.session() as server:
            warehouse.prepare(server)
            with connect("greenery bench", warehouse.as_loader(server)) as connection:
                demo_shop.play_day(connection, 1, first_day=DAY)
            running = stack.airflow(server)
            if demo.run_daily(stack, server).state != "success":
                raise SystemExit(f"{DAG_ID} failed")
            results = fill(server, arguments.days)
            most = max(arguments.readers, arguments.users)
            clients = [AirflowApi(running.url, *stack.login()).client for _ in range(most)]
            alone = first(clients[0])
            end = time.monotonic() + arguments.seconds
            together = read(clients[: arguments.readers], lambda: time.monotonic() > end)
            meanwhile = during_a_run(stack, server, clients[: arguments.users])
    print(
        f"{processes.machine()}; {results:,} results of {arguments.days + 1} days; "
        f"{arguments.readers} readers for {arguments.seconds:.0f} s",
        "",
        *_table(alone, together),
        "",
        f"{arguments.users} users, each view for {LOOKS[0]:.0f} to {LOOKS[1]:.0f} s, while `{DAG_ID}` runs:",
        "",
        *_table({}, meanwhile),
        sep="\n",
    )


if __name__ == "__main__":
    main()
