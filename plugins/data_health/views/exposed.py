"""One exposure: how far the marts that it reads can be trusted, in a few words, for a badge beside it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from include import words
from include.results import trust
from plugins.data_health.reading import Reading
from plugins.data_health.views import health


class Trusted(StrEnum):
    """How far, in a word."""

    TESTED = "tested"
    LET_THROUGH = "let through"
    LATE = "late"
    HELD = "held"
    UNKNOWN = "not published"


@dataclass(frozen=True)
class Exposed:
    """What a badge says of an exposure: `label` is its name, `says` the rest; UTC."""

    label: str
    trusted: Trusted
    says: str


def read(reading: Reading, name: str) -> Exposed:
    """As of now. Raises LookupError where the project has no such exposure."""
    exposure = next((one for one in reading.facts.exposures.values() if one["name"] == name), None)
    if exposure is None:
        raise LookupError(f"The dbt project has no exposure {name}.")
    known = trust.of_marts(reading.connection)
    read_by_it = [reading.facts.relations.get(model) for model in exposure["depends_on"]["nodes"]]
    marts = [known[mart] for mart in read_by_it if mart in known]
    trusted, says = _in_words(marts, health.late_since(reading), reading.at)
    return Exposed(exposure.get("label") or name, trusted, says)


def _in_words(marts: list[trust.Trust], late_since: datetime | None, now: datetime) -> tuple[Trusted, str]:
    """The worst of the marts that an exposure reads."""
    if not marts:
        return Trusted.UNKNOWN, Trusted.UNKNOWN
    days = [mart.complete_to for mart in marts if mart.complete_to]
    # A mart whose loads nobody knows leaves it open.
    complete = f", complete to {min(days):%-d %b}" if len(days) == len(marts) else ""
    if held_since := marts[0].held_since:  # the same of all
        return Trusted.HELD, f"held since {held_since.astimezone(UTC):%-d %b}{complete}"
    if late_since:
        return Trusted.LATE, f"late{complete}"
    if let_through := max(mart.tests_let_through for mart in marts):
        return Trusted.LET_THROUGH, f"{words.count(let_through, 'failed test')} let through{complete}"
    tested = max((mart.tested_at for mart in marts if mart.tested_at), default=None)
    if tested is None:
        return Trusted.TESTED, f"as of {_moment(marts[0].as_of, now)}{complete}"
    return Trusted.TESTED, f"tested {_moment(tested, now)}{complete}"


def _moment(at: datetime, now: datetime) -> str:
    at = at.astimezone(UTC)
    return f"{at:%H:%M}" if at.date() == now.astimezone(UTC).date() else f"{at:%-d %b %H:%M}"
