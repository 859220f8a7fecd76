"""What a task of the day goes on with, although something failed in it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from dbt.cli.main import dbtRunnerResult
from psycopg2.extensions import connection as Connection

from include.answers import answers
from include.answers.answer import About, Kind
from include.daily.operators import RunTests
from tests.clock import today

pytestmark = pytest.mark.db


def done(**statuses: str) -> dbtRunnerResult:
    """What dbt says of nodes that ended so."""
    config = SimpleNamespace(severity="ERROR", error_if="!= 0")
    results = [
        SimpleNamespace(
            node=SimpleNamespace(unique_id=f"{kind}.{name}", resource_type=kind, name=name, config=config),
            status=status,
            failures=1,
            message="",
            execution_time=0.1,
            adapter_response={},
        )
        for kind, name, status in ((*called.split("_"), status) for called, status in statuses.items())
    ]
    return dbtRunnerResult(success=False, result=SimpleNamespace(results=results))


@pytest.mark.parametrize(
    ("statuses", "forgiven"),
    [
        ({"model_m": "success", "test_waived": "fail", "test_odd": "warn"}, True),
        ({"test_waived": "error"}, True),
        ({"test_waived": "fail", "test_muted": "fail"}, False),
        ({"test_waived": "fail", "model_m": "skipped"}, False),
        ({"model_m": "error"}, False),
        ({"model_m": "success"}, False),
    ],
)
def test_a_task_goes_on_where_nothing_failed_but_what_somebody_lets_through(
    db: Connection, statuses: dict[str, str], forgiven: bool
) -> None:
    answers.give(db, Kind.MUTE, About("test.waived"), "ada", "known", today(), waives=True)
    answers.give(db, Kind.MUTE, About("test.muted"), "ada", "known", today())
    assert RunTests.forgives(None, done(**statuses)) is forgiven
