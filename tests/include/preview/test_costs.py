"""What models cost, as past runs left word."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection

from include.preview import costs
from include.preview.report import Cost, Kind, ModelChange, Plan
from include.results import node_results, runs
from include.results.nodes import NodeResult

pytestmark = pytest.mark.db


def test_what_a_full_build_costs_is_the_newest_that_wrote_most_rows(db: Connection) -> None:
    built = "model.greenery.fact_orders"
    with db.cursor() as cursor:
        cursor.execute("create schema if not exists analytics; create table analytics.fact_orders as select 1 as a")
        cursor.execute("insert into analytics.fact_orders select n from generate_series(1, 99) as n")
        cursor.execute("analyze analytics.fact_orders")
        cursor.execute(
            "insert into ops.buffers (schema_oid, run_id, since, rebuild, scan)"
            " values (to_regnamespace('analytics')::oid, 'run', now(), true, true)"
        )
        cursor.execute(
            "insert into ops.buffer_models (schema_oid, unique_id, rebuilt)"
            " values (to_regnamespace('analytics')::oid, %s, true)",
            (built,),
        )
    for number, (seconds, rows) in enumerate([(9.0, 80), (4.0, 90), (0.1, 5)]):
        runs.begin(db, str(number), "release")
        result = NodeResult(built, "model", "fact_orders", "success", None, None, "", seconds, rows)
        node_results.record(db, str(number), "task", 1, [result])
    plan = Plan(models=(ModelChange(built, "fact_orders", Kind.CHANGED), ModelChange("model.m", "m", Kind.NEW)))
    orders, other = costs.known(db, plan).models
    assert (orders.cost.seconds, orders.cost.rows) == (4.0, 100)
    assert orders.cost.bytes
    assert other.cost == Cost()
