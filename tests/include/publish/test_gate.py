"""What the gate's list asks of the moments at which models were built and tests ran."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from include.dbt_project.manifest import Manifest
from include.publish.gate import mixed_models, unproven_tests
from include.results.node_results import Pass
from tests.include.publish.test_publish import model

AT = datetime(2026, 11, 30, 6, tzinfo=UTC)
LATER = AT + timedelta(seconds=1)
CHAIN = Manifest({"model.m": model("m"), "model.child": model("child", "model.m")}, {})


def test_what_one_task_built_at_one_moment_is_in_order() -> None:
    assert mixed_models("run 1", CHAIN, dict.fromkeys(CHAIN.models, ("run 1", AT))) == []
    older = {"model.m": ("run 1", LATER), "model.child": ("run 1", AT)}
    assert mixed_models("run 1", CHAIN, older) == ["model.child"]


def test_a_test_is_proven_by_a_run_that_is_no_older_than_what_it_reads_whatever_else_was_built_since() -> None:
    of_m = {
        "resource_type": "test",
        "name": "t",
        "config": {"severity": "ERROR"},
        "depends_on": {"nodes": ["model.m", "source.s"]},
    }
    manifest, passed = Manifest({**CHAIN.nodes, "test.t": of_m}, {}), {"test.t": Pass(AT, "error")}

    def unproven(**built: datetime) -> list[str]:
        builds = {f"model.{name}": ("run 1", at) for name, at in built.items()}
        return [one.name for one in unproven_tests(manifest, builds, passed)]

    assert unproven(m=AT, child=LATER) == []
    assert unproven(m=LATER, child=LATER) == ["t"]
