"""What it costs to compare what is built with what was told, on a large history: `make bench BENCH=receipts`.

Marts of a shop of so many events are made by SQL, in both buffers, with the project's own columns, indexes and table of
metrics. In the second buffer orders, sessions and users came late, orders are gone, corrected or moved to another day:
on each of the last seven days that are over, and on one a year ago.

    python -m benchmarks.receipts --events 10000000
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dbt.cli.main import dbtRunner
from psycopg2 import sql

from benchmarks import folder
from benchmarks.size import PROJECT, SERVER
from include.dbt_project.manifest import read
from include.local import postgres
from include.local.progress import Progress
from include.receipts import kept_moves, moves, told
from include.results import publications, runs
from include.settings import BUILT, LIVE
from include.warehouse import connect, migrate

EVENTS_A_DAY = 10_000
TRIES = 7
# Per day 100 users, 1,000 orders and 2,000 sessions; each user orders ten times.
FILL = {
    "dim_users": """
        insert into {} (user_id, email, created_at, orders)
        select 'user-' || nth, nth || '@example.com', {first} + nth / 100 + time '00:00:01' * (nth % 100), 10
        from generate_series(0, {days} * 100 - 1) as nth
    """,
    "fact_orders": """
        insert into {} (
            order_id, user_id, status, ordered_at, order_cost, order_total, units, items_amount, shipping_address,
            shipping_state, delivered_at, delivery_hours, is_late
        )
        select
            'order-' || md5(nth::text), 'user-' || nth / 10, 'delivered', {first} + nth / 1000 + time '12:00',
            nth % 500, nth % 500 + 5, 1 + nth % 5, nth % 500, 'A street', 'Texas',
            {first} + nth / 1000 + 3 + time '12:00', 72, nth % 7 = 0
        from generate_series(0, {days} * 1000 - 1) as nth
    """,
    "int_user_sessions": """
        insert into {} (
            session_id, user_id, started_at, ended_at, session_minutes, page_views, add_to_carts, checkouts,
            is_converted
        )
        select
            'session-' || md5(nth::text), 'user-' || nth / 20, {first} + nth / 2000 + time '11:00',
            {first} + nth / 2000 + time '13:00', 12, 3, 1, nth % 2, nth % 2 = 1
        from generate_series(0, {days} * 2000 - 1) as nth
    """,
    "int_user_first_orders": """
        insert into {} (user_id, order_id, ordered_at, order_total, next_ordered_at)
        select
            'user-' || nth, 'order-' || md5((nth * 10)::text), {first} + nth / 100 + time '12:00', 50,
            {first} + nth / 100 + 30 + time '12:00'
        from generate_series(0, {days} * 100 - 1) as nth
    """,
    "fact_product_sessions_daily": "",
    "int_product_oversold_changes": "",
}
CHANGE = """
create temporary table changing on commit drop as
select order_id, row_number() over (order by order_id) as nth
from analytics_next.fact_orders
where cast(ordered_at as date) = any(%(days)s);

delete from analytics_next.fact_orders where order_id in (select order_id from changing where nth %% 40 = 0);
update analytics_next.fact_orders set items_amount = items_amount + 1.25, units = units + 1
where order_id in (select order_id from changing where nth %% 40 = 10);
update analytics_next.fact_orders set ordered_at = ordered_at - interval '1 day'
where order_id in (select order_id from changing where nth %% 40 = 20);
insert into analytics_next.fact_orders (order_id, user_id, ordered_at, order_total, units, items_amount)
select 'late-' || order_id, user_id, ordered_at, order_total, units, items_amount
from analytics_next.fact_orders
where order_id in (select order_id from changing where nth %% 40 = 30);
insert into analytics_next.int_user_sessions (session_id, user_id, started_at, is_converted)
select 'late-' || session_id, user_id, started_at, is_converted
from analytics_next.int_user_sessions
where cast(started_at as date) = any(%(days)s) and right(session_id, 1) = '7';
insert into analytics_next.dim_users (user_id, created_at)
select 'late-' || user_id, created_at
from analytics_next.dim_users
where cast(created_at as date) = any(%(days)s) and right(user_id, 1) = '7'
"""
# The table of metrics, and what it reads of these.
METRICS = ("dim_days", "int_daily_figures", "daily_metrics")


class Bench:
    """A warehouse with such marts."""

    def __init__(self, work: Path, server: postgres.LocalPostgres, days: int) -> None:
        postgres.ensure_database(server, "bench")
        os.environ.update(server.database("bench").environment())
        migrate.upgrade()
        self.days = days
        self.first = datetime.now(UTC).date() - timedelta(days=days - 1)
        flags = [
            *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
            *(
                "--target-path",
                str(work / "target"),
                "--log-path",
                str(work / "logs"),
                "--quiet",
                "--log-level",
                "none",
            ),
        ]
        done = dbtRunner().invoke(["compile", "--full-refresh", "--select", *METRICS, *flags])
        self.facts = read(work / "target" / "manifest.json")
        self.queries = {one.node.name: one.node.compiled_code for one in done.result}

    def build(self, *, changed: bool) -> None:
        """The marts of the whole history into the build schema; `changed` as they are a day later."""
        with connect("bench") as connection, connection.cursor() as cursor:
            nodes = {node["name"]: node for node in self.facts.nodes.values()}
            cursor.execute(sql.SQL("set search_path to {}").format(sql.Identifier(BUILT)))
            for name, fill in FILL.items():
                columns = ", ".join(f"{one['name']} {one['data_type']}" for one in nodes[name]["columns"].values())
                cursor.execute(f"create table {name} ({columns})")
                if fill:
                    values = {"first": sql.Literal(self.first), "days": sql.Literal(self.days)}
                    cursor.execute(sql.SQL(fill).format(sql.Identifier(name), **values))
                for index in nodes[name]["config"].get("indexes") or ():
                    cursor.execute(f"create index on {name} ({', '.join(index['columns'])})")
            if changed:
                ago = [*range(1, 8), min(365, self.days - 1)]
                last = self.first + timedelta(days=self.days - 1)
                cursor.execute(CHANGE, {"days": [last - timedelta(days=one) for one in ago]})
            for name in METRICS:
                cursor.execute(f"create table {name} as {self.queries[name]}")
        with connect("bench") as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("vacuum analyze")

    def publish(self) -> float:
        """Make what is built what is told; returns the seconds that telling all of history for the first time takes."""
        with connect("bench") as connection, connection.cursor() as cursor:
            cursor.execute(f"drop schema if exists {LIVE} cascade")
            cursor.execute(f"alter schema {BUILT} rename to {LIVE}")
            cursor.execute(f"create schema {BUILT}")
            runs.begin(connection, "bench", "bench")
            publication_id, _ = publications.note(cursor, "bench", LIVE, as_of=None, decision=None, notes=[])
            return _seconds(lambda: told.note(cursor, publication_id, LIVE))

    def change_all(self) -> None:
        """As another model does that every metric is counted by."""
        with connect("bench") as connection, connection.cursor() as cursor:
            cursor.execute("update analytics_next.daily_metrics set value = value * 2, numerator = numerator * 2")

    def compare(self) -> tuple[dict[str, float], tuple[moves.Found, ...]]:
        """The least seconds of each step of several tries, none of which is kept, and what moved."""
        steps: dict[str, list[float]] = {}
        for _ in range(TRIES):
            with connect("bench") as connection, connection.cursor() as cursor:
                began = time.monotonic()
                found = moves.find(connection, self.facts)
                steps.setdefault("moves.find", []).append(time.monotonic() - began)
                publication_id, _ = publications.note(cursor, "bench", LIVE, as_of=None, decision=None, notes=[])
                for name, step in (
                    ("told.note", lambda: told.note(cursor, publication_id, BUILT)),  # noqa: B023 - called here
                    ("kept_moves.keep", lambda: kept_moves.keep(cursor, publication_id, found)),  # noqa: B023
                ):
                    steps.setdefault(name, []).append(_seconds(step))
                connection.rollback()
        return {name: min(seconds) for name, seconds in steps.items()}, found


def _seconds(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def main() -> None:
    """Run the benchmark and print what it measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.receipts", description=main.__doc__)
    parser.add_argument("--events", type=int, default=10_000_000, help="default: %(default)s")
    arguments = parser.parse_args()
    say = Progress().say
    with folder.working() as work:
        server = postgres.start(work / "postgres", settings=SERVER)
        bench = Bench(work, server, arguments.events // EVENTS_A_DAY)
        bench.build(changed=False)
        say(f"{bench.days:,} days are there; to tell all of it for the first time: {bench.publish():.2f} s")
        bench.build(changed=True)
        for what in ("a day's changes", "another model, by which all of the past is otherwise"):
            steps, found = bench.compare()
            kept = sum(len(one.rows) for one in found)
            adds_up = sum(one.move.adds_up for one in found)
            print(f"{what}: {len(found):,} moves, {adds_up:,} of which add up; {kept:,} rows kept")
            print("".join(f"    {name}: {seconds:.2f} s\n" for name, seconds in steps.items()), end="")
            bench.change_all()


if __name__ == "__main__":
    main()
