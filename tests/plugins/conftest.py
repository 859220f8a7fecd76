"""A warehouse that the page reads as its own role, as it does in a deployment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from include import settings
from include.dbt_project.manifest import Manifest
from include.warehouse import migrate, open_connection, roles
from plugins.data_health.reading import Reading


@pytest.fixture
def ops(db: Connection) -> Connection:
    """A warehouse with `ops` and the roles, before any run."""
    migrate.upgrade()
    roles.ensure(db, login=True)
    return db


@pytest.fixture
def ask(ops: Connection) -> Callable[..., Any]:
    """`ask(read, facts, *arguments)`: what a view answers of what is there now."""

    def answer(read: Callable[..., Any], facts: Manifest, *arguments: Any) -> Any:
        connection = open_connection("greenery data health test", settings.warehouse_health())
        try:
            return read(Reading(connection, facts, datetime.now(UTC)), *arguments)
        finally:
            connection.close()

    return answer
