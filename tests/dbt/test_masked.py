"""A masked copy of Greenery's real shop, built: its marts tell what the original ones tell, and so do the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from include import settings
from include.masked.fill import fill
from include.masked.save import save
from include.warehouse import migrate
from tests.dbt.conftest import SCHEMAS, Dbt, Shop, build_all

pytestmark = pytest.mark.db


def plain_rows(dbt: Dbt, shop: Shop) -> dict[str, list[tuple]]:
    """By mart its rows, sorted, without the columns that are personal."""
    found = {}
    for node in dbt.manifest.nodes.values():
        if node.resource_type == "model" and node.schema == "analytics_next":
            columns = [name for name, column in node.columns.items() if not column.config.meta.get("personal")]
            rows = shop.query(f"select {', '.join(columns)} from {node.schema}.{node.alias}")
            found[node.name] = sorted(rows, key=repr)
    return found


def test_what_is_built_from_a_masked_copy_tells_the_same(dbt: Dbt, greenery: Shop, tmp_path: Path) -> None:
    before = plain_rows(dbt, greenery)
    assert sum(map(len, before.values())) > 5000
    where = settings.warehouse()
    save(tmp_path / "copy", where)
    for schema in SCHEMAS:
        greenery.query(f"drop schema if exists {schema} cascade")
    migrate.upgrade(where)
    fill(tmp_path / "copy", where)

    build_all(dbt)  # and all tests pass, as they do on the original

    after = plain_rows(dbt, greenery)
    assert {name for name, rows in before.items() if after[name] != rows} == set()
