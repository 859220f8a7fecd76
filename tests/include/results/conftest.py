"""What the tests of results share."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection

from include.results import runs


@pytest.fixture
def ops(db: Connection) -> Connection:
    """A warehouse with `ops` and one run that began."""
    runs.begin(db, "run", "release")
    return db
