"""An answer, what it is about, and the address of the form that takes one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from urllib.parse import urlencode

from include import settings


class Kind(StrEnum):
    """What somebody says: that it was to be expected, that it is not to be told for a while, that they see to it."""

    EXPECTED = "expected"
    MUTE = "mute"
    MINE = "mine"


@dataclass(frozen=True)
class About:
    """What an answer is about: a test, model, source or metric by its unique id in dbt, or a series of one.

    `day` is the UTC day of what was told.
    """

    unique_id: str
    measure: str = ""
    column: str = ""
    item: str = ""
    day: date | None = None


@dataclass(frozen=True)
class Answer:
    """Who said what about what, and why. It ends after the UTC day `until`; None: when it is ended by hand, or is well.

    `waives`: a muted test of severity error does not hold the publish either.
    """

    answer_id: int
    answered_at: datetime
    answered_by: str
    kind: Kind
    about: About
    reason: str
    until: date | None = None
    waives: bool = False
    name_given: str = ""

    @property
    def by(self) -> str:
        """The login, and beside it the name that was typed."""
        return f"{self.answered_by}, who signs as {self.name_given}" if self.name_given else self.answered_by


def form_url(about: About, kind: Kind | None = None) -> str:
    """Where to answer, with the form filled in."""
    return f"{settings.health_url('answer')}?{form_query(about, kind)}"


def form_query(about: About, kind: Kind | None = None) -> str:
    """What the form is filled in with, as the query of its address."""
    given = {
        "about": about.unique_id,
        "measure": about.measure,
        "column": about.column,
        "item": about.item,
        "day": about.day.isoformat() if about.day else "",
        "kind": kind or "",
    }
    return urlencode({name: value for name, value in given.items() if value})
