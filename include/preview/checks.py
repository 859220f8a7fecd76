"""Tests before and after a change: which newly fail, warn or pass, and which models can't be built at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from include.dbt_project.manifest import Manifest
from include.preview.build import Built
from include.preview.report import Became, FailedModel, TestChange
from include.results import failures
from include.results.nodes import NodeResult

_NOT_BUILT = ("error", "skipped")
# What dbt says of a model whose columns are not those of its contract, above a table of so many columns.
_CONTRACT, _CELLS = "enforced contract that failed", 4
_NO_RUN = failures.RunContext(None, {}, {})
# What becomes of a test by its status before and after. None: nothing worth telling.
_BAD = {
    ("fail", "fail"): Became.STILL_FAILS,
    ("error", "error"): Became.STILL_FAILS,
    ("warn", "warn"): Became.STILL_WARNS,
}
_NOW = {"fail": Became.FAILS, "warn": Became.WARNS, "error": Became.NOT_RUN, "skipped": Became.NOT_RUN}


def compare(
    before: Mapping[str, NodeResult],
    after: Mapping[str, NodeResult],
    facts_before: Manifest,
    facts_after: Manifest,
) -> tuple[TestChange, ...]:
    """What becomes of each test of the new state that ran, or would have, if it is worth telling; the worst first.

    Both are results of models and tests by unique id. A test of a model that was not built can't run, whatever its
    result says: dbt may have asked the published model in its place.
    """
    found = [_change(test.unique_id, before, after, facts_before, facts_after) for test in facts_after.data_tests]
    found += [_unit_test(one, before.get(one.unique_id)) for one in after.values() if one.resource_type == "unit_test"]
    order = list(Became)
    # By name besides: the manifest's order is that in which dbt happened to read the files.
    return tuple(
        sorted(filter(None, found), key=lambda one: (order.index(one.became), one.is_unit_test, one.model, one.name))
    )


def failed(after: Built, facts: Manifest) -> tuple[FailedModel, ...]:
    """The models that dbt could not build, each with those behind it; one behind several is told with the first."""
    results = [one for one in after.results.values() if one.unique_id in facts.nodes and one.resource_type != "test"]
    left = [one.unique_id for one in results if one.status == "skipped"]
    found = []
    for result in results:
        if result.status == "error":
            behind = [one for one in left if one in facts.downstream(result.unique_id)]
            left = [one for one in left if one not in behind]
            reason, breaks_contract = _why(result.message or "")
            titles = tuple(facts.title(one) for one in facts.drawn if one in behind)
            found.append(FailedModel(facts.title(result.unique_id), reason, titles, breaks_contract))
    return tuple(found)


def _change(
    test: str,
    before: Mapping[str, NodeResult],
    after: Mapping[str, NodeResult],
    facts_before: Manifest,
    facts_after: Manifest,
) -> TestChange | None:
    result = after.get(test)
    missing = [one for one in facts_after.parents(test) if one in after and after[one].status in _NOT_BUILT]
    if missing:
        became, reason = Became.NOT_RUN, f"{facts_after.title(missing[0])} was not built"
    elif result is None:
        return None
    else:
        became = _became(before.get(test), result)
        reason = _found(result, facts_after) if became not in (None, Became.PASSES) else ""
    if became is None:
        return None
    owner = failures.owner(_tested(test, missing, facts_after), facts_after) or failures.owner(test, facts_after)
    return TestChange(
        test,
        failures.title_of_test(test, facts_after),
        facts_after.title(_tested(test, missing, facts_after)),
        became,
        None if result is None or missing else result.failures,
        reason,
        is_new=test not in facts_before.nodes,
        owner=owner.name if owner else None,
    )


def _unit_test(result: NodeResult, before: NodeResult | None) -> TestChange | None:
    became = _became(before, result)
    if became is None:
        return None
    said, mark, rows = (result.message or "").partition("@@")
    differs = f"{mark}{rows}".strip() if result.status == "fail" else ""
    reason = "it makes other rows than it expects" if differs else failures.without_data(said).rstrip(": ")
    model = result.unique_id.split(".")[2]
    return TestChange(result.unique_id, f"unit test {result.name}", model, became, reason=reason, differs=differs)


def _became(before: NodeResult | None, after: NodeResult) -> Became | None:
    was = before.status if before else None
    if after.status == "pass" and was in ("fail", "warn", "error"):
        return Became.PASSES
    return _BAD.get((was, after.status)) or _NOW.get(after.status)


def _tested(test: str, missing: list[str], facts: Manifest) -> str:
    """The node that a test is told with: what was not built, else what it is on; of several, the last that is built."""
    of = missing or facts.tested(test)
    return next((one for one in of if not any(one in facts.upstream(other) for other in of)), test) if of else test


def _found(result: NodeResult, facts: Manifest) -> str:
    """What a test found and what it expects, as the daily message says it, without data."""
    told = failures.failure(result, facts, _NO_RUN)
    return f"{told.measured}; {told.wanted}" if told.wanted else told.measured


def _why(message: str) -> tuple[str, bool]:
    """dbt's message of a model, without data, and whether it is about the contract: then column by column."""
    told = failures.without_data(message)
    if _CONTRACT not in told:
        return told, False
    said, *cells = (cell.strip() for cell in told.split("|"))
    return "; ".join(_mismatches(cells)) or said, True


def _mismatches(cells: list[str]) -> Iterator[str]:
    """Each column that is not as its contract says: "paid is missing in contract (SQL: numeric)"."""
    # The header and the rule below it come first, and between two rows is nothing.
    for start in range(2 * (_CELLS + 1), len(cells) - _CELLS, _CELLS + 1):
        column, sql, contract, reason = cells[start : start + _CELLS]
        types = ", ".join(f"{name}: {kind}" for name, kind in (("SQL", sql), ("contract", contract)) if kind)
        said = "of another type" if "mismatch" in reason else reason
        yield f"{column} is {said}" + (f" ({types})" if types else "")
