"""Tests before and after a change: which newly fail, warn or pass, and which models can't be built at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from include.dbt_project.manifest import Manifest
from include.preview.report import Became, FailedModel, TestChange
from include.results import failures
from include.results.nodes import NodeResult

if TYPE_CHECKING:
    from include.preview.build import Built

_NOT_BUILT = ("error", "skipped")
# What dbt says of a model whose columns are not those of its contract, and a row of the table that follows.
_CONTRACT = "enforced contract that failed"
_MISMATCH = re.compile(r"^\|([^|\n]*)\|([^|\n]*)\|([^|\n]*)\|([^|\n]*)\|\s*$", re.MULTILINE)
_NOBODY_ASKS = failures.RunContext(None, {}, {})
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
    found = (_change(test.unique_id, before, after, facts_before, facts_after) for test in facts_after.data_tests)
    order = list(Became)
    return tuple(sorted(filter(None, found), key=lambda one: order.index(one.became)))


def failed(after: Built, facts: Manifest) -> tuple[FailedModel, ...]:
    """The models that dbt could not build, each with those behind it; one behind several is told with the first."""
    results = [one for one in after.results.values() if one.resource_type != "test"]
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
        was = before[test].status if test in before else None
        became = _BAD.get((was, result.status)) or _NOW.get(result.status)
        if became is None and was in ("fail", "warn", "error"):
            became = Became.PASSES
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


def _tested(test: str, missing: list[str], facts: Manifest) -> str:
    """The node that a test is told with: what was not built, else what it is on; of several, the last that is built."""
    of = missing or facts.tested(test)
    return next((one for one in of if not any(one in facts.upstream(other) for other in of)), test) if of else test


def _found(result: NodeResult, facts: Manifest) -> str:
    """What a test found and what it expects, as the daily message says it, without data."""
    told = failures.failure(result, facts, _NOBODY_ASKS)
    return f"{told.measured}; expected {told.expected}" if told.expected else told.measured


def _why(message: str) -> tuple[str, bool]:
    """dbt's message of a model, without data, and whether it is about the contract: then column by column."""
    if _CONTRACT not in message:
        return failures.without_data(message), False
    return "; ".join(_mismatches(message)) or failures.without_data(message.partition("\n|")[0]), True


def _mismatches(message: str) -> Iterator[str]:
    """Each column that is not as its contract says: "paid is missing in contract (SQL: numeric)"."""
    for cells in _MISMATCH.findall(message):
        column, sql, contract, reason = (cell.strip() for cell in cells)
        if column in ("", "column_name") or set(column) == {"-"}:
            continue
        types = ", ".join(f"{name}: {kind}" for name, kind in (("SQL", sql), ("contract", contract)) if kind)
        yield f"{column} is {_lower(reason)}" + (f" ({types})" if types else "")


def _lower(reason: str) -> str:
    return "of another type" if "mismatch" in reason else reason
