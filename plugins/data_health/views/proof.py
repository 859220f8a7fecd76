"""The proof: what the learned expectations would have caught of faults planted in copies of the shop's own past."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from include.dbt_project.manifest import Manifest
from include.results.unusual import is_personal
from include.unusual import words
from include.unusual.series import Measure, Series
from plugins.data_health.reading import Reading


@dataclass(frozen=True)
class Caught:
    """How many faults were planted, and how many of them would have been told."""

    planted: int
    caught: int


@dataclass(frozen=True)
class PlantedFault(Caught):
    """The same of a kind of fault: `what` it was planted in, and within how many days each was told that was told."""

    name: str
    what: tuple[str, ...]
    days_until: int | None


@dataclass(frozen=True)
class FalseAlarm:
    """A series that was unusual on a UTC day although nothing was planted, and what it is called."""

    day: date
    series: Series
    title: str


@dataclass(frozen=True)
class Proof:
    """What `make prove` found out. `begins` and `ends` are the UTC days that it replayed, `series` how many series.

    `large` are the faults of a fifth of the rows or more; `is_enough` says whether what is to be reached is reached.
    """

    proved_at: datetime
    begins: date
    ends: date
    days: int
    series: int
    is_enough: bool
    large: Caught
    faults: tuple[PlantedFault, ...]
    false_alarms: tuple[FalseAlarm, ...]

    @property
    def all(self) -> Caught:
        """All faults together."""
        return Caught(sum(fault.planted for fault in self.faults), sum(fault.caught for fault in self.faults))

    @property
    def alarmed_days(self) -> int:
        """On how many days a message would have told a false alarm."""
        return len({one.day for one in self.false_alarms})


@dataclass(frozen=True)
class Proved:
    """The newest proof, None before `make prove` has run."""

    proof: Proof | None


def read(reading: Reading) -> Proved:
    """The newest proof."""
    return Proved(newest(reading))


def newest(reading: Reading) -> Proof | None:
    """The newest proof, if there is one."""
    rows = reading.rows("select proved_at, result from ops.proofs order by proof_id desc limit 1")
    if not rows:
        return None
    result = rows[0].result
    return Proof(
        proved_at=rows[0].proved_at,
        begins=date.fromisoformat(result["from"]),
        ends=date.fromisoformat(result["to"]),
        days=result["days"],
        series=result["series"],
        is_enough=result["is_enough"],
        large=Caught(**result["large"]),
        faults=tuple(PlantedFault(**{**fault, "what": tuple(fault["what"])}) for fault in result["faults"]),
        false_alarms=tuple(_false_alarm(one, reading.facts) for one in result["false_alarms"]),
    )


def _false_alarm(kept: dict[str, Any], facts: Manifest) -> FalseAlarm:
    """A value of a column that was marked as personal since is left out."""
    series = Series(**{**kept["series"], "measure": Measure(kept["series"]["measure"])})
    if is_personal(series, facts):
        series = replace(series, item="")
    return FalseAlarm(date.fromisoformat(kept["day"]), series, words.title(series, facts))
