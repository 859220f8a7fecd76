"""What the tests of the page's views share: a migrated warehouse with its roles, read as the page reads it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection

from include.dbt_project.manifest import Manifest
from include.warehouse import connect, roles
from plugins.data_health.reading import Reading, reading

Ask = Callable[..., Any]


@pytest.fixture
def ops(db: Connection) -> Connection:
    """A warehouse with `ops` and the roles, before any run; an administrator's connection to it."""
    with connect("test") as connection:
        roles.ensure(connection, login=True)
    return db


@pytest.fixture
def ask(ops: Connection) -> Ask:
    """Calls a view's `read` with arguments, as greenery_health; `at` is the moment that it takes for now."""

    def ask(
        read: Callable[..., Any], *arguments: Any, facts: Manifest | None = None, at: datetime | None = None
    ) -> Any:
        with reading() as found:
            assert found.rows("select current_user as name")[0].name == roles.HEALTH
            return read(Reading(found.connection, facts or Manifest({}, {}), at or datetime.now(UTC)), *arguments)

    return ask
