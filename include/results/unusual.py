"""What is unusual in a run's data, as people need to hear of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from include.dbt_project import metrics
from include.dbt_project.manifest import Manifest
from include.results import failures
from include.results.failures import Owner
from include.unusual.series import Measure, Series, Unusual
from include.words import Unit

# What they measure is a value of the data itself.
_OF_VALUES = (Measure.SHARE, Measure.LEAST, Measure.GREATEST, Measure.MEAN)


@dataclass(frozen=True)
class Finding:
    """Something unusual: `kind` (source, model, metric) and `name` say of what, `unit` is that of a metric.

    `exposures` is what people look at that stands on it. `with_it` is what it explains, the worst first.
    """

    unusual: Unusual
    kind: str
    name: str
    unit: Unit = Unit.NUMBER
    owner: Owner | None = None
    exposures: tuple[str, ...] = ()
    with_it: tuple[Finding, ...] = ()


def findings(unusual: Iterable[Unusual], facts: Manifest) -> tuple[Finding, ...]:
    """What is told, the worst first; each with what it explains. Values of personal columns are left out."""
    told = sorted((one for one in unusual if not _is_personal(one, facts)), key=lambda one: (-one.score, one.series))
    by_series = {one.series: one for one in told}
    behind: defaultdict[Series, list[Finding]] = defaultdict(list)
    first: list[Unusual] = []
    for one in told:
        cause = _cause(one, by_series)
        if cause is one:
            first.append(one)
        else:
            behind[cause.series].append(_finding(one, facts))
    return tuple(_finding(one, facts, tuple(behind[one.series])) for one in first)


def _cause(one: Unusual, by_series: Mapping[Series, Unusual]) -> Unusual:
    """What explains it in the end, as far as that is told; itself where nothing does, or where it would be a circle."""
    seen = [one]
    while (cause := by_series.get(seen[-1].because)) is not None:
        if cause in seen:
            return one
        seen.append(cause)
    return seen[-1]


def _finding(one: Unusual, facts: Manifest, with_it: tuple[Finding, ...] = ()) -> Finding:
    unique_id = one.series.unique_id
    metric = metrics.find(facts, unique_id)
    node = metrics.model(facts) if metric else unique_id
    return Finding(
        unusual=one,
        kind="metric" if metric else "source" if unique_id in facts.sources else "model",
        name=metric.label if metric else facts.title(unique_id),
        unit=metric.unit if metric else Unit.NUMBER,
        owner=failures.owner(node, facts),
        exposures=failures.exposures(node, facts),
        with_it=with_it,
    )


def _is_personal(one: Unusual, facts: Manifest) -> bool:
    return one.series.measure in _OF_VALUES and one.series.column in facts.personal_columns
