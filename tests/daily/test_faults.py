"""A fault of each kind on a real scheduler: what people query stays byte for byte what it was, and is told as it is."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import NamedTuple

import psycopg2
import pytest

from include.local import warehouse
from include.local.demo import Outcome
from include.warehouse import roles
from tests.deployment import EMPTY, Day, Deployment
from tests.meanwhile import meanwhile

pytestmark = [pytest.mark.db, pytest.mark.stack]

Row = dict[str, str]


def rewrite(file: Path, edit: Callable[[list[Row]], None]) -> None:
    """Change the rows of a CSV file."""
    with file.open(newline="") as content:
        rows = list(csv.DictReader(content))
    columns = list(rows[0])
    edit(rows)
    with file.open("w", newline="") as content:
        writer = csv.DictWriter(content, columns)
        writer.writeheader()
        writer.writerows(rows)


def _set(column: str, value: str) -> Callable[[list[Row]], None]:
    def edit(rows: list[Row]) -> None:
        rows[7][column] = value

    return edit


def _double(rows: list[Row]) -> None:
    rows.append(rows[7])


# What is wrong with one file, and the test that finds it, beside the others.
FAULTS: dict[str, tuple[str, Callable[[list[Row]], None], str]] = {
    "a doubled order": ("orders", _double, "source_unique_greenery_orders_order_id"),
    "an order of nobody": ("orders", _set("user_id", ""), "source_not_null_greenery_orders_user_id"),
    "an item of no product": ("order_items", _set("product_id", "gone"), "source_relationships_greenery_order_items"),
    "an unknown status": ("orders", _set("status", "lost"), "source_accepted_values_greenery_orders_status"),
    "a negative quantity": ("order_items", _set("quantity", "-1"), "source_not_negative_greenery_order_items_quantity"),
    "no addresses at all": ("addresses", list.clear, "source_not_empty_greenery_addresses"),
    "a doubled event": ("events", _double, "source_unique_greenery_events_event_id"),
}


@dataclass
class Readers:
    """How often they have read, and the mixes and errors that they saw."""

    read: int = 0
    wrong: list[object] = field(default_factory=list)


@contextmanager
def reading(deployment: Deployment, people: int = 3, thinks: float = 0.05) -> Iterator[Readers]:
    """Some who read as readers may, all the while: a query over marts that must agree, every so many seconds."""
    seen = Readers()

    def reads(over: Event) -> None:
        where = deployment.server.database(warehouse.NAME, roles.READER)
        try:
            with closing(psycopg2.connect(**where.libpq())) as connection, connection.cursor() as cursor:
                connection.autocommit = True  # a reader who keeps a transaction open would keep publish waiting
                while not over.wait(thinks):
                    cursor.execute(
                        "select (select count(*) from analytics.fact_orders), (select sum(orders) from "
                        "analytics.dim_users), (select sum(value) from analytics.daily_metrics where metric = 'orders')"
                    )
                    [(orders, of_users, of_days)] = cursor.fetchall()
                    seen.read += 1
                    if not orders == of_users == of_days:
                        seen.wrong.append((orders, of_users, of_days))
        except psycopg2.Error as error:
            seen.wrong.append(error)

    with meanwhile(*[reads] * people):
        yield seen


def test_of_real_data_with_faults_nothing_reaches_people_and_each_is_told(
    deployment: Deployment, real_data: Path, tmp_path: Path
) -> None:
    deployment.come_to(EMPTY)
    deployment.load(real_data)
    good = deployment.run()
    assert good.state == "success"
    assert "Repeat rate: 79.8 % (99 of 124 buyers" in good.messages[0]
    before = deployment.published()
    versions = "select * from snapshots.orders_snapshot order by dbt_scd_id"
    history = deployment.query(versions)

    folder = shutil.copytree(real_data, tmp_path / "spoilt")
    for name, edit, _ in FAULTS.values():
        rewrite(folder / f"{name}.csv", edit)
    deployment.load(folder)
    bad = deployment.run()
    assert (bad.state, bad.task_states["check_sources"]) == ("failed", "failed")
    failed = [
        test
        for (test,) in deployment.query(
            f"select distinct unique_id from ops.node_results where run_id = '{bad.run_id}' and status = 'fail'"
        )
    ]
    found = {fault: any(name in test for test in failed) for fault, (_, _, name) in FAULTS.items()}
    assert found == dict.fromkeys(FAULTS, True)
    [message] = bad.messages
    assert f"{len(failed)} failed" in message
    assert "Stakeholders still see the data as of" in message
    assert deployment.published() == before
    # An order that is there twice goes into no history.
    assert bad.task_states["snapshot"] == "failed"
    assert deployment.query(versions) == history


class TakenBack(NamedTuple):
    """What came of a day that was cleared in parts, taken back, and run again while somebody held publishing back."""

    alone: Outcome
    reason: str
    again: Outcome
    told: str
    held: Outcome
    released: Outcome
    published: list[dict[str, list[tuple]]]  # after each of: parts of it, the roll back, the run held back, the release
    kept: tuple[bool, bool]  # of the last message: whether it was not sent, and whether it is known why
    readers: Readers


DIM_USERS = "transform.models.marts.core.dim_users_model_build"


@pytest.fixture(scope="module")
def taken_back(deployment: Deployment, first_day: Day, second_day: Day) -> TakenBack:
    """The second day: one model alone, the first day's publish, a roll back, and the whole run under a hold.

    Slack refuses what is said once the hold is released.
    """
    deployment.come_to("second_day")
    [last] = second_day.runs
    published = []
    with reading(deployment) as readers:
        alone = deployment.run_again(last.run_id, DIM_USERS)
        [(reason,)] = deployment.query(f"select message from ops.node_results where unique_id = 'task.{DIM_USERS}'")
        again = deployment.run_again(first_day.runs[-1].run_id, "publish", downstream=True)
        published.append(deployment.published())

        assert deployment.decide(action="roll back", reason="revenue is wrong") == "success"
        published.append(deployment.published())
        told = deployment.slack.accepted[-1]["text"]

        assert deployment.decide(action="hold", reason="the auditors are here") == "success"
        held = deployment.run_again(last.run_id, "check_sources", downstream=True)
        published.append(deployment.published())

        assert deployment.decide(action="release", reason="they are gone") == "success"
        deployment.slack.answers[:] = [403] * 4
        released = deployment.run_again(held.run_id, "publish", downstream=True)
        deployment.slack.answers.clear()
        published.append(deployment.published())
    [kept] = deployment.query(
        "select sent_at is null, problem is not null from ops.messages order by message_id desc limit 1"
    )
    return TakenBack(alone, reason, again, told, held, released, published, kept, readers)


def test_what_is_cleared_or_taken_back_never_mixes_days(first_day: Day, second_day: Day, taken_back: TakenBack) -> None:
    assert taken_back.alone.task_states[DIM_USERS] == "failed"
    assert taken_back.reason.startswith("What this run built is published")
    assert taken_back.again.task_states["publish"] == "skipped"
    assert taken_back.told == "✋ Greenery data: rolled back"
    assert taken_back.published == [
        second_day.published,
        first_day.published,
        first_day.published,
        second_day.published,
    ]
    assert taken_back.readers.wrong == []
    assert taken_back.readers.read > 30


def test_who_holds_publishing_back_is_told(taken_back: TakenBack) -> None:
    held, message = taken_back.held, taken_back.held.messages[-1]
    assert (held.state, held.task_states["publish"]) == ("failed", "failed"), message
    assert [task for task, state in held.task_states.items() if state == "failed"] == ["publish"]
    assert "task publish: admin holds publishing back" in message


def test_a_slack_that_refuses_holds_nothing_up(taken_back: TakenBack) -> None:
    released = taken_back.released
    assert (released.state, released.task_states["publish"]) == ("success", "success"), "".join(released.messages)
    assert taken_back.kept == (True, True)


def test_a_run_whose_sources_were_checked_again_alone_keeps_no_load_out_for_long(
    deployment: Deployment, second_day: Day
) -> None:
    deployment.come_to("second_day")
    [run] = second_day.runs
    assert deployment.run_again(run.run_id, "check_sources").task_states["check_sources"] == "success"
    assert deployment.query(f"select count(*) from ops.leases where holder = 'run {run.run_id}'") == [(2,)]
    deployment.watch()
    deployment.play_day()
