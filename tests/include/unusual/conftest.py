"""What the tests of what is unusual share: a small shop with a dated table, one without dates, and two marts."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from include.dbt_project.manifest import Manifest
from include.results import runs

ORDERS, PLACES, DAILY, FACTS = "source.p.s.orders", "source.p.s.places", "model.p.daily_metrics", "model.p.fact_orders"


def source(name: str, columns: dict[str, dict[str, Any]] | None = None, **config: Any) -> dict[str, Any]:
    """A table of the raw schema as the manifest tells of it; of each column its `meta`."""
    return {
        "resource_type": "source",
        "schema": "raw",
        "name": name,
        "identifier": name,
        "config": config,
        "original_file_path": "models/_sources.yml",
        "columns": {column: {"config": {"meta": meta}} for column, meta in (columns or {}).items()},
    }


def model(name: str, **config: Any) -> dict[str, Any]:
    """A mart as the manifest tells of it."""
    return {
        "resource_type": "model",
        "name": name,
        "alias": name,
        "schema": "analytics_next",
        "config": {"materialized": "table", **config},
        "depends_on": {"nodes": []},
        "original_file_path": f"models/{name}.sql",
    }


def project(*, orders: dict[str, Any] | None = None, **nodes: dict[str, Any]) -> Manifest:
    """The project on the shop; `orders` in place of its own source of that name, `nodes` beside its own."""
    own = source(
        "orders",
        {"order_id": {}, "email": {"personal": True}, "status": {}, "amount": {}, "note": {}},
        event_time="created_at",
    )
    return Manifest(
        {DAILY: model("daily_metrics"), FACTS: model("fact_orders"), **nodes},
        {ORDERS: orders or own, PLACES: source("places")},
        metrics={"metric.p.orders": {"name": "orders", "config": {}, "original_file_path": "models/_metrics.yml"}},
    )


@pytest.fixture
def shop(db: Connection) -> Connection:
    """Ten orders on each of 1 to 3 March 2026, loaded the morning after at 05:30, in the warehouse of run `run`."""
    runs.begin(db, "run", "release")
    with db.cursor() as cursor:
        cursor.execute(
            """
            create schema if not exists raw;
            create table raw.orders as
            select
                format('o%s-%s', day, nth) as order_id, format('u%s@example.com', nth) as email,
                '2026-02-28'::timestamptz + day * interval '1 day' + nth * interval '2 hours' as created_at,
                case when nth < 8 then 'shipped' else 'preparing' end as status,
                case when nth <> 4 then nth::numeric end as amount,
                format('%s pots', nth) as note,
                '2026-03-01 05:30'::timestamptz + day * interval '1 day' as _loaded_at
            from generate_series(1, 3) as day, generate_series(0, 9) as nth;
            create table raw.places as select generate_series(1, 4) as place;
            create table raw.loads as
            select name as table_name, '2026-03-01 05:30'::timestamptz + day * interval '1 day' as loaded_at
            from generate_series(1, 3) as day, unnest('{orders,places}'::text[]) as name;
            create table analytics_next.daily_metrics as
            select '2026-02-28'::date + day as day, metric, day * 10.0 as value
            from generate_series(-5, 3) as day, unnest('{orders,margin}'::text[]) as metric;
            create table analytics_next.fact_orders as select * from raw.orders
            """
        )
    return db
