"""dbt's documentation as the page serves it: of what is published, without secrets, with no script but dbt's own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from psycopg2.extensions import connection as Connection
from pydantic import TypeAdapter

from plugins.data_health import dbt_docs
from plugins.data_health.access import may_see
from plugins.data_health.app import app
from tests.plugins.shop import FACTS, MART, ORDERS, SNAPSHOT

pytestmark = pytest.mark.db


@pytest.fixture
def client(ops: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The page for somebody who may see it, of a dbt project that is parsed."""
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    project = tmp_path / "dbt" / "releases" / tmp_path.name
    (project / "target").mkdir(parents=True)
    (project / "target" / "manifest.json").write_text(
        json.dumps(
            {
                "metadata": {"env": {"DBT_ENV_CUSTOM_ENV_X": "y"}, "send_anonymous_usage_stats": True, "user_id": "me"},
                "nodes": {
                    **FACTS.nodes,
                    MART: {
                        **FACTS.nodes[MART],
                        "meta": {"api_token": "t0ken", "nested": [{"db_password": "pa55"}]},
                        "columns": {"password": {"name": "password", "description": "Hashed."}},
                    },
                },
                "sources": FACTS.sources,
                "groups": {},
                "exposures": {},
            }
        )
    )
    (tmp_path / "dbt" / "current").symlink_to(project)
    app.dependency_overrides[may_see.dependency] = lambda: None
    yield TestClient(app)
    app.dependency_overrides.clear()


def test_dbts_page_stands_in_a_frame_below_our_navigation(client: TestClient) -> None:
    page = client.get("/docs").text
    assert '<nav aria-label="Data health">' in page
    [source] = re.findall(r'<iframe[^>]* src="([^"]+)"', page)
    assert source.startswith("/data-health/docs/index.html")
    assert client.get("/docs/").text == page


def test_dbts_page_runs_its_own_scripts_and_asks_nobody_else(client: TestClient) -> None:
    answer = client.get("/docs/index.html")
    assert "manifest.json" in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert re.search(r"script-src 'sha256-[\w+/=]+';", policy), "neither 'unsafe-inline' nor 'unsafe-eval'"
    assert "connect-src 'self';" in policy
    assert "http" not in policy


def test_the_manifest_has_no_secrets_and_says_where_people_query(client: TestClient) -> None:
    answer = client.get("/docs/manifest.json")
    manifest = answer.json()
    assert manifest["metadata"] == {"env": {}, "send_anonymous_usage_stats": False, "user_id": None}
    mart = manifest["nodes"][MART]
    assert mart["meta"] == {"api_token": "***", "nested": [{"db_password": "***"}]}
    assert mart["columns"]["password"]["description"] == "Hashed."
    assert mart["schema"] == "analytics"


def test_the_catalog_is_of_what_is_published(ops: Connection, client: TestClient) -> None:
    with ops.cursor() as cursor:
        cursor.execute("create table analytics.fact_orders (order_id text, paid numeric(16, 2))")
        cursor.execute("insert into analytics.fact_orders select n::text, n from generate_series(1, 7) as n")
        cursor.execute("comment on column analytics.fact_orders.paid is 'In dollars.'")
        cursor.execute("create table analytics_next.fact_orders (other text)")
        cursor.execute("create table raw.orders (order_id text)")
        cursor.execute("analyze analytics.fact_orders")
    catalog = client.get("/docs/catalog.json").json()
    assert catalog["metadata"]["dbt_schema_version"].endswith("/catalog/v1.json")
    assert catalog["nodes"].keys() == {MART}, "the snapshot was never taken"
    assert catalog["sources"].keys() == {ORDERS}
    mart = catalog["nodes"][MART]
    assert mart["metadata"]["schema"] == "analytics"
    assert mart["columns"] == {
        "order_id": {"type": "text", "index": 1, "name": "order_id", "comment": None},
        "paid": {"type": "numeric(16,2)", "index": 2, "name": "paid", "comment": "In dollars."},
    }
    assert mart["stats"]["row_count"]["value"] == 7
    assert mart["stats"]["bytes"]["value"] > 0
    assert SNAPSHOT not in catalog["nodes"]


def test_the_catalog_is_one_that_dbt_reads(ops: Connection, ask: Callable[..., Any]) -> None:
    from dbt.artifacts.schemas.catalog import CatalogArtifact

    with ops.cursor() as cursor:
        cursor.execute("create view staging.stg_orders as select 1 as one")
    catalog = TypeAdapter(dict).dump_json(ask(dbt_docs.read, facts=FACTS))
    [node] = CatalogArtifact.from_dict(json.loads(catalog)).nodes.values()
    assert (node.metadata.type, node.columns["one"].type) == ("VIEW", "integer")


def test_before_the_project_was_parsed_there_is_no_manifest(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path / "empty"))
    answer = client.get("/docs/manifest.json")
    assert answer.status_code == 404
    assert "has not been parsed yet" in answer.json()["detail"]


def test_nobody_reads_it_without_a_session() -> None:
    routes = [route for route in app.routes if isinstance(route, APIRoute) and route.path.startswith("/docs")]
    assert len(routes) == 5
    assert all(may_see in route.dependencies for route in routes)
