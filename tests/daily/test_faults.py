"""A fault of each kind on a real scheduler: what people query stays byte for byte what it was, and is told as it is."""

from __future__ import annotations

import csv
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from include.local import warehouse
from include.warehouse import roles
from tests.deployment import EMPTY, Day, Deployment

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


@contextmanager
def readers(deployment: Deployment) -> Iterator[list[int]]:
    """Some who read as readers may, all the while: a query over marts that must agree. Yields how often they have read.

    Fails where one of them saw a mix or an error.
    """
    read, wrong, stop = [0], [], threading.Event()

    def reads() -> None:
        where = deployment.server.database(warehouse.NAME, roles.READER)
        connection = psycopg2.connect(host=where.host, port=where.port, dbname=where.database, user=where.user)
        connection.autocommit = True  # a reader who keeps a transaction open would keep publish waiting
        with closing(connection), connection.cursor() as cursor:
            while not stop.wait(0.05):
                try:
                    cursor.execute(
                        "select (select count(*) from analytics.fact_orders), (select sum(orders) from "
                        "analytics.dim_users), (select sum(value) from analytics.daily_metrics where metric = 'orders')"
                    )
                    [(orders, of_users, of_days)] = cursor.fetchall()
                    read[0] += 1
                    if not orders == of_users == of_days:
                        wrong.append((orders, of_users, of_days))
                except psycopg2.Error as error:
                    wrong.append(error)
                    return

    threads = [threading.Thread(target=reads) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield read
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []


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


def test_who_holds_publishing_back_is_told_and_a_slack_that_refuses_holds_nothing_up(
    deployment: Deployment, first_day: Day
) -> None:
    deployment.come_to("first_day")
    deployment.play_day()
    assert deployment.decide(action="hold", decided_by="ada", reason="the auditors are here") == "success"
    held = deployment.run()
    assert (held.state, held.task_states["publish"]) == ("failed", "failed"), "".join(held.messages)
    assert "task publish: ada holds publishing back" in held.messages[0]
    assert deployment.published() == first_day.published

    assert deployment.decide(action="release", decided_by="ada", reason="they are gone") == "success"
    deployment.slack.answers[:] = [403] * 4
    published = deployment.run_again(held.run_id, "publish", downstream=True)
    deployment.slack.answers.clear()
    assert (published.state, published.task_states["publish"]) == ("success", "success"), "".join(published.messages)
    assert deployment.published() != first_day.published
    last = "select sent_at is null, problem is not null from ops.messages order by message_id desc limit 1"
    assert deployment.query(last) == [(True, True)]


def test_what_is_cleared_or_taken_back_never_mixes_days(
    deployment: Deployment, first_day: Day, second_day: Day
) -> None:
    deployment.come_to("second_day")
    [last] = second_day.runs
    model = "transform.models.marts.core.dim_users_model_build"
    with readers(deployment) as read:
        alone = deployment.run_again(last.run_id, model)
        assert alone.task_states[model] == "failed"
        [(reason,)] = deployment.query(f"select message from ops.node_results where unique_id = 'task.{model}'")
        assert reason.startswith("What this run built is published")
        again = deployment.run_again(first_day.runs[-1].run_id, "publish", downstream=True)
        assert again.task_states["publish"] == "skipped"
        assert deployment.published() == second_day.published

        assert deployment.decide(action="roll back", decided_by="ada", reason="revenue is wrong") == "success"
        assert deployment.published() == first_day.published
        assert deployment.slack.accepted[-1]["text"] == "✋ Greenery data: rolled back"
        whole = deployment.run_again(last.run_id, "check_sources", downstream=True)
        assert whole.state == "success"
        assert deployment.published() == second_day.published
    assert read[0] > 30


def test_a_run_whose_sources_were_checked_again_alone_keeps_no_load_out_for_long(
    deployment: Deployment, second_day: Day
) -> None:
    deployment.come_to("second_day")
    [run] = second_day.runs
    assert deployment.run_again(run.run_id, "check_sources").task_states["check_sources"] == "success"
    assert deployment.query(f"select count(*) from ops.leases where holder = 'run {run.run_id}'") == [(2,)]
    deployment.watch()
    deployment.play_day()
