"""What a run has to tell, gathered from `ops` and the warehouse: the data behind the Slack message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extensions import connection as Connection

from include.results import publications, store
from include.results.nodes import NodeResult
from include.results.publications import Decision
from include.results.store import BROKEN, OrderChange


@dataclass(frozen=True)
class Failure:
    """Something that broke: a test, a model, a snapshot, or a task that left no result of dbt's.

    `rows` are the first rows that a test found, as text, without personal columns.
    """

    kind: str
    name: str
    message: str
    rows: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Report:
    """One run, as its message tells it.

    `overtaken` says of a run that was published once that people query another one's marts by now.
    Times are UTC. `data_as_of` and `decision` are those of what people query now: `decision` where somebody put it
    there by hand. `repeat_rate` is a share of it; `order_changes` is None where no snapshot was taken. `hold` keeps
    runs from publishing.
    """

    run_id: str
    run_url: str
    published: bool
    overtaken: bool
    data_as_of: datetime | None
    decision: Decision | None
    hold: Decision | None
    started_at: datetime | None
    passed: int
    warned: int
    failed: int
    skipped: int
    failures: tuple[Failure, ...]
    warnings: tuple[Failure, ...]
    repeat_rate: float | None
    buyers: int
    repeat_buyers: int
    order_changes: tuple[OrderChange, ...] | None
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Which message this is."""
        return "overtaken" if self.overtaken else "published" if self.published else "failed"


def gather(
    connection: Connection,
    run_id: str,
    run_url: str,
    *,
    run_failed: bool,
    expected_tests: frozenset[str] = frozenset(),
    notes: tuple[str, ...] = (),
) -> Report:
    """Sum up a run.

    `run_failed` is Airflow's word on the run as it is now: one that was published once can fail when it is cleared.
    `expected_tests` are the unique ids of all data tests of the project: those without a result count as skipped.
    """
    run = store.run(connection, run_id)
    results = store.node_results(connection, run_id)
    checks = [result for result in results if result.resource_type in ("test", "freshness")]
    live, own = publications.live(connection), publications.of_run(connection, run_id)
    recorded = any(result.name == "orders_snapshot" and result.status == "success" for result in results)
    repeat_buyers, buyers = _buyers(connection)
    return Report(
        run_id=run_id,
        run_url=run_url,
        published=bool(own and live and live.run_id == run_id) and not run_failed,
        overtaken=bool(own and live and live.run_id != run_id) and not run_failed,
        data_as_of=live.data_as_of if live else None,
        decision=live.decision if live else None,
        hold=publications.hold(connection),
        started_at=run.started_at if run else None,
        passed=sum(check.status == "pass" for check in checks),
        warned=sum(check.status == "warn" for check in checks),
        failed=sum(check.status in BROKEN for check in checks),
        skipped=len(expected_tests - {check.unique_id for check in checks if check.status != "skipped"}),
        failures=tuple(_failures(results)),
        warnings=tuple(_failure(result) for result in results if result.status == "warn"),
        repeat_rate=repeat_buyers / buyers if buyers else None,
        buyers=buyers,
        repeat_buyers=repeat_buyers,
        order_changes=tuple(store.order_changes(connection, run_id)) if recorded else None,
        notes=(*notes, *(own.notes if own else ())),
    )


def _failures(results: list[NodeResult]) -> Iterator[Failure]:
    """What broke; two tasks that were refused for one reason are one failure."""
    told = set()
    for result in results:
        reason = (result.resource_type, result.message)
        if result.status in BROKEN and not (result.resource_type == "task" and reason in told):
            told.add(reason)
            yield _failure(result)


def _failure(result: NodeResult) -> Failure:
    return Failure(result.resource_type, result.name, (result.message or "").strip(), tuple(result.failing_rows))


def _buyers(connection: Connection) -> tuple[int, int]:
    """Users with two or more orders, and with one or more, in what is published; (0, 0) before the first time."""
    with connection.cursor() as cursor:
        cursor.execute("select to_regclass('analytics.dim_users')")
        if cursor.fetchone()[0] is None:
            return 0, 0
        cursor.execute(
            "select count(*) filter (where orders >= 2), count(*) filter (where orders >= 1) from analytics.dim_users"
        )
        return cursor.fetchone()
