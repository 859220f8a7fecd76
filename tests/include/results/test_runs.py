"""`ops.runs`: when a run began, and with which release."""

from __future__ import annotations

import pytest
from psycopg2.extensions import connection as Connection

from include.results import runs

pytestmark = pytest.mark.db


def test_a_run_that_is_cleared_keeps_its_start_and_its_release(ops: Connection) -> None:
    before = runs.find(ops, "run")
    assert runs.begin(ops, "run", "newer") == "release"
    assert runs.find(ops, "run") == before
