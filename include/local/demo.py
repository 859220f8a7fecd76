"""`make demo`: play days of a shop on the local stack, run `greenery_daily` after each, print what Slack would show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include import raw
from include.daily import DAG_ID
from include.demo_shop import demo
from include.local import postgres, warehouse
from include.local.airflow_api import AirflowApi
from include.local.progress import Progress
from include.local.stack import Stack
from include.raw import csv_loader
from include.raw.load import LoadReport, loaded_from
from include.warehouse import connect

CSV = "csv"
_FRAME = "─" * 72
_PARKED = {shop: f"warehouse_{shop}" for shop in (demo.NAME, CSV)}


@dataclass(frozen=True)
class Outcome:
    """How a run ended: Airflow's state of it and of each task, and what it said."""

    run_id: str
    state: str
    messages: tuple[str, ...]
    task_states: dict[str, str | None]


def play(stack: Stack, folder: Path | None) -> bool:
    """Play what is due of the demo shop, or the one day that `folder` holds; True if every run was published.

    Raises csv_loader.CsvError for bad files, before anything runs; the warehouse is as it was then.
    """
    with stack.session() as server:
        changed = use_warehouse_of(server, CSV if folder else demo.NAME, stack.progress)
        where = warehouse.as_loader(server)
        if folder:
            try:
                with connect("greenery loader", where) as connection:
                    _tell(csv_loader.load_folder(connection, folder), str(folder), stack.progress)
            except csv_loader.CsvError:
                if changed:
                    use_warehouse_of(server, demo.NAME, stack.progress)
                raise
            return _run(stack, server)
        with connect("greenery demo shop", where) as connection:
            days = demo.due(connection)
        if not days:
            stack.progress.say("The demo shop was played up to yesterday, so this run is of what is there.")
        published = True
        # What was missed, then yesterday: however long ago the last call was, two runs follow the shop.
        for some in (days[:-1], days[-1:]) if len(days) > 1 else (days,):
            _play(server, some, stack.progress)
            published = _run(stack, server) and published
        return published


def run_on_what_is_there(stack: Stack) -> bool:
    """Run the day on the rows that the warehouse holds, and print its message; True if it was published."""
    with stack.session() as server:
        return _run(stack, server)


def begin(server: postgres.LocalPostgres, progress: Progress) -> None:
    """Play the demo shop into a warehouse that was never loaded, so that there is something to run on."""
    with connect("greenery demo shop", warehouse.as_loader(server)) as connection:
        days = [] if loaded_from(connection) is not None or raw.holds_rows(connection) else demo.due(connection)
    _play(server, days, progress)


def _play(server: postgres.LocalPostgres, days: list[tuple[int, date]], progress: Progress) -> None:
    for day, on in days:
        with connect("greenery demo shop", warehouse.as_loader(server)) as connection:
            _tell(demo.play_day(connection, day), f"the demo shop's day {day}, {on:%a %d %b %Y}", progress)


def use_warehouse_of(server: postgres.LocalPostgres, shop: str, progress: Progress) -> bool:
    """Make `warehouse` the database of the given kind of shop; True if it was another's.

    The demo's history and a CSV folder's don't mix: the one that is not in use is kept aside as `warehouse_demo` or
    `warehouse_csv` and comes back when its turn does. Safe to call again after it was interrupted.
    """
    with connect("greenery local", warehouse.as_loader(server)) as connection:
        origin = loaded_from(connection)
    with postgres.admin(server) as cursor:
        cursor.execute("select 1 from pg_database where datname = %s", (_PARKED[shop],))
        returns = cursor.fetchone() is not None
        holds = None if origin is None else demo.NAME if origin == demo.NAME else CSV
        if holds == shop or (holds is None and not returns):
            return False
        cursor.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'warehouse'")
        if holds is None:
            cursor.execute("drop database warehouse")  # never loaded
        else:
            _rename(cursor, "warehouse", _PARKED[holds])
            progress.say(f"The warehouse held another shop; it is kept aside as database {_PARKED[holds]}")
        if returns:
            _rename(cursor, _PARKED[shop], "warehouse")
    warehouse.prepare(server)
    return True


def _rename(cursor: Cursor, before: str, after: str) -> None:
    cursor.execute(sql.SQL("alter database {} rename to {}").format(sql.Identifier(before), sql.Identifier(after)))


def run_daily(stack: Stack, server: postgres.LocalPostgres, tell: Callable[[int, int], None] | None = None) -> Outcome:
    """Run the DAG once, now, and wait for it; call it in a session of the stack. `tell` hears of progress."""
    running = stack.airflow(server)
    api = AirflowApi(running.url, *stack.login())
    api.wait_for_dag(DAG_ID)
    return outcome(api, server, api.trigger(DAG_ID), tell)


def outcome(
    api: AirflowApi, server: postgres.LocalPostgres, run_id: str, tell: Callable[[int, int], None] | None = None
) -> Outcome:
    """Wait for a run of the DAG, and tell how it ended."""
    state = api.wait_for_run(DAG_ID, run_id, tell)
    return Outcome(run_id, state, messages_of(server, run_id), api.task_states(DAG_ID, run_id))


def messages_of(server: postgres.LocalPostgres, run_id: str) -> tuple[str, ...]:
    """What a run said, in that order: its messages to several audiences are of one moment."""
    with connect("greenery demo", warehouse.as_transformer(server)) as connection, connection.cursor() as cursor:
        cursor.execute("select body from ops.messages where run_id = %s order by message_id", (run_id,))
        return tuple(body for (body,) in cursor.fetchall())


def _run(stack: Stack, server: postgres.LocalPostgres) -> bool:
    """Run the day and print its message; True if it was published."""
    stack.airflow(server)
    with stack.progress.step(f"Running {DAG_ID}"):
        outcome = run_daily(stack, server, lambda done, of: stack.progress.at(f"{done} of {of} tasks"))
    if not outcome.messages:
        stack.progress.say("The run left no message.")
    for message in outcome.messages:
        print(f"{_FRAME}\n{message}\n{_FRAME}\n", flush=True)
    return outcome.state == "success" and bool(outcome.messages)


def _tell(report: LoadReport, what: str, progress: Progress) -> None:
    progress.say(f"Loaded {what}: {report.summary()}")
