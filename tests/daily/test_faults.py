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
from include.local.demo import DAG_ID
from include.shop.csv_loader import CsvError
from include.warehouse import roles
from tests.deployment import Deployment

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


# What is wrong with one file, and what the message must name.
FAULTS: dict[str, tuple[str, Callable[[list[Row]], None], str]] = {
    "a doubled order": ("orders", _double, "source_unique_greenery_orders_order_id"),
    "an order of nobody": ("orders", _set("user_id", ""), "source_not_null_greenery_orders_user_id"),
    "an item of no product": ("order_items", _set("product_id", "gone"), "source_relationships_greenery_order_items"),
    "an unknown status": ("orders", _set("status", "lost"), "source_accepted_values_greenery_orders_status"),
    "a negative quantity": ("order_items", _set("quantity", "-1"), "source_not_negative_greenery_order_items_quantity"),
    "no orders at all": ("orders", list.clear, "source_not_empty_greenery_orders"),
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


def test_of_real_data_with_one_fault_nothing_reaches_people(
    deployment: Deployment, real_data: Path, tmp_path: Path
) -> None:
    deployment.load(real_data)
    good = deployment.run()
    assert good.state == "success"
    assert "Repeat rate: 79.8 % (99 of 124 buyers" in good.messages[0]
    before = deployment.published()
    versions = deployment.query("select count(*) from snapshots.orders_snapshot")

    with readers(deployment) as read:
        for number, (fault, (name, edit, told)) in enumerate(FAULTS.items()):
            folder = shutil.copytree(real_data, tmp_path / str(number))
            rewrite(folder / f"{name}.csv", edit)
            deployment.load(folder)
            bad = deployment.run()
            assert (bad.state, bad.task_states["check_sources"]) == ("failed", "failed"), fault
            [message] = bad.messages
            assert told in message, fault
            assert "Stakeholders still see the data as of" in message, fault
            assert deployment.published() == before, fault
            former, versions = versions, deployment.query("select count(*) from snapshots.orders_snapshot")
            assert versions >= former, fault

        short = shutil.copytree(real_data, tmp_path / "short")
        (short / "orders.csv").write_text((short / "orders.csv").read_text().replace("tracking_id", "tracking", 1))
        with pytest.raises(CsvError, match="tracking_id"):
            deployment.load(short)

        deployment.load(real_data)
        mended = deployment.run()
        assert mended.state == "success", "".join(mended.messages)
        # An order was seen as lost and found again: history tells of it, and nothing else has changed.
        told = deployment.published()
        assert {change[6] for change in told.pop("order_status_changes")} == {"lost", "delivered"}
        assert told == {name: rows for name, rows in before.items() if name != "order_status_changes"}
        before = deployment.published()

        deployment.query("alter table raw.orders drop column tracking_id cascade")
        bad = deployment.run()
        assert bad.task_states["check_sources"] == "failed"
        assert "source_has_shape_greenery_orders_" in bad.messages[0]
        assert deployment.published() == before
    assert read[0] > 300


def test_a_model_that_breaks_a_hold_and_a_slack_that_refuses(deployment: Deployment) -> None:
    deployment.play_day()
    assert deployment.run().state == "success"
    before = deployment.published()

    deployment.play_day()
    deployment.query("update raw.promos set discount = discount + 1e20, _loaded_at = now()")
    broken = deployment.run()
    assert broken.task_states["transform.models.marts.core.int_orders_model_build"] == "failed"
    assert "model int_orders" in broken.messages[0]
    assert "numeric field overflow" in broken.messages[0]
    assert deployment.published() == before

    deployment.query("update raw.promos set discount = discount - 1e20, _loaded_at = now()")
    assert deployment.decide(action="hold", decided_by="ada", reason="the auditors are here") == "success"
    held = deployment.run()
    assert (held.state, held.task_states["publish"]) == ("failed", "failed"), "".join(held.messages)
    assert "task publish: ada holds publishing back" in held.messages[0]
    assert deployment.published() == before

    assert deployment.decide(action="release", decided_by="ada", reason="they are gone") == "success"
    deployment.slack.answers[:] = [403] * 4
    published = deployment.run_again(held.run_id, "publish", downstream=True)
    deployment.slack.answers.clear()
    assert (published.state, published.task_states["publish"]) == ("success", "success"), "".join(published.messages)
    assert deployment.published() != before
    assert deployment.query("select sent_at is null, problem is not null from ops.messages order by message_id")[
        -1
    ] == (
        True,
        True,
    )


def test_what_is_triggered_twice_cleared_or_taken_back_never_mixes_days(deployment: Deployment) -> None:
    deployment.play_day()
    api = deployment.api
    at_once = [api.trigger(DAG_ID) for _ in range(2)]
    assert [api.wait_for_run(DAG_ID, run_id) for run_id in at_once] == ["success", "success"]
    first_day = deployment.published()
    deployment.play_day()
    last = deployment.run()
    assert last.state == "success"
    second_day = deployment.published()
    assert second_day != first_day

    model = "transform.models.marts.core.dim_users_model_build"
    alone = deployment.run_again(last.run_id, model)
    assert alone.task_states[model] == "failed"
    [(reason,)] = deployment.query(f"select message from ops.node_results where unique_id = 'task.{model}'")
    assert reason.startswith("What this run built is published")
    again = deployment.run_again(at_once[1], "publish", downstream=True)
    assert again.task_states["publish"] == "skipped"
    assert deployment.published() == second_day

    assert deployment.decide(action="roll back", decided_by="ada", reason="revenue is wrong") == "success"
    assert deployment.published() == first_day
    assert deployment.slack.accepted[-1]["text"] == "✋ Greenery data: rolled back"
    whole = deployment.run_again(last.run_id, "check_sources", downstream=True)
    assert whole.state == "success"
    assert deployment.published() == second_day


def test_a_run_whose_sources_were_checked_again_alone_keeps_no_load_out_for_long(deployment: Deployment) -> None:
    deployment.play_day()
    run_id = deployment.run().run_id
    assert deployment.run_again(run_id, "check_sources").task_states["check_sources"] == "success"
    assert deployment.query(f"select count(*) from ops.leases where holder = 'run {run_id}'") == [(2,)]
    api = deployment.api
    assert api.wait_for_run("greenery_watchdog", api.trigger("greenery_watchdog")) == "success"
    deployment.play_day()
