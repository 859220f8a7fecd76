"""What is unusual in a run's data, as people need to hear of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from include.answers.answer import Answer
from include.dbt_project import helpers, metrics
from include.dbt_project.manifest import Manifest
from include.results import failures
from include.results.failures import Owner
from include.settings import BUILT
from include.unusual import words
from include.unusual.series import Measure, Series, Unusual

# What they measure is a value of the data itself.
_OF_VALUES = (Measure.SHARE, Measure.LEAST, Measure.GREATEST, Measure.MEAN)


@dataclass(frozen=True)
class Finding:
    """Something unusual in words: what it is called, its value, and what is usual.

    `of_marts` says that it is of what people query. `of_day` says that it is about what happened on its day, and
    `by_weekday` that it counts that: a Monday may have more than a Sunday. `exposures` is what people look at that
    stands on it. `with_it` is what it explains, the worst first.
    """

    unusual: Unusual
    title: str
    value: str
    usual: str
    of_marts: bool = False
    of_day: bool = True
    by_weekday: bool = False
    owner: Owner | None = None
    exposures: tuple[str, ...] = ()
    # By which it is told in short, and that of who sees to it.
    muted: Answer | None = None
    mine: Answer | None = None
    with_it: tuple[Finding, ...] = ()


def findings(unusual: Iterable[Unusual], facts: Manifest) -> tuple[Finding, ...]:
    """What is told, the worst first; each with what it explains. Values of personal columns are left out."""
    told = sorted(
        (one for one in unusual if not is_personal(one.series, facts)), key=lambda one: (-one.score, one.series)
    )
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


def is_personal(series: Series, facts: Manifest) -> bool:
    """Whether its values are those of a personal column; it may have been marked so after they were observed."""
    return series.measure in _OF_VALUES and series.column in facts.personal_columns


def _cause(one: Unusual, by_series: Mapping[Series, Unusual]) -> Unusual:
    """What explains it in the end, as far as that is told; itself where nothing does, or where it would be a circle."""
    seen = [one]
    while (cause := by_series.get(seen[-1].because)) is not None:
        if cause in seen:
            return one
        seen.append(cause)
    return seen[-1]


def _finding(one: Unusual, facts: Manifest, with_it: tuple[Finding, ...] = ()) -> Finding:
    series, measure = one.series, one.series.measure
    is_metric = series.unique_id in facts.metrics
    node = metrics.model(facts) if is_metric else series.unique_id
    source = facts.sources.get(series.unique_id)
    dated = bool(source and source.get("config", {}).get("event_time"))
    return Finding(
        unusual=replace(one, because=None) if one.because and is_personal(one.because, facts) else one,
        title=words.title(series, facts),
        value=words.value(one.value, series, facts),
        usual=words.usual(one.expected, series, facts),
        of_marts=is_metric or (_is_queried(series.unique_id, facts) and measure is not Measure.SECONDS),
        of_day=measure is Measure.VALUE or (dated and measure is not Measure.LOADED),
        by_weekday=measure in (Measure.VALUE, Measure.HOURS) or (dated and measure is Measure.ROWS),
        owner=failures.owner(node, facts),
        exposures=failures.exposures(node, facts),
        with_it=with_it,
    )


def _is_queried(unique_id: str, facts: Manifest) -> bool:
    """Whether it is a mart that is named to people: a model that publish puts in front of them, and no helper."""
    is_mart = unique_id in facts.models and facts.nodes[unique_id].get("schema") == BUILT
    return is_mart and not helpers.is_helper(facts.title(unique_id))
