"""Answers: what is in force, and what has ended, with who, why and until when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime

from include.answers import answers, known
from include.answers.answer import Answer
from include.answers.answers import End, Kept
from include.results import answered
from plugins.data_health.reading import Reading

# Of what has ended, so many: the newest.
SHOWN = 200


@dataclass(frozen=True)
class OneAnswer:
    """An answer, what people call the thing, and how it ended.

    `well_since`: of a mute, that all of it is well since then, for days; `is_in_force` is as of now.
    """

    answer: Answer
    about: str
    is_in_force: bool
    end: End | None
    well_since: date | None = None


@dataclass(frozen=True)
class Answers:
    """What people answered: what is in force, the newest first, and what has ended."""

    in_force: tuple[OneAnswer, ...]
    ended: tuple[OneAnswer, ...]
    at: datetime


def read(reading: Reading) -> Answers:
    """All of them, as of now."""
    found = [_one(reading, one) for one in answers.kept(reading.connection)]
    return Answers(
        in_force=tuple(one for one in found if one.is_in_force),
        ended=tuple([one for one in found if not one.is_in_force][:SHOWN]),
        at=reading.at,
    )


def read_one(reading: Reading, answer_id: int) -> OneAnswer:
    """One of them. Raises LookupError where there is none."""
    found = answers.find(reading.connection, answer_id)
    if found is None:
        raise LookupError(f"There is no answer {answer_id}.")
    return _one(reading, found)


def about(reading: Reading, *unique_ids: str) -> tuple[OneAnswer, ...]:
    """Those in force about one of these nodes, or about a series of it."""
    given = answers.in_force(reading.connection, reading.at.date())
    return tuple(_one(reading, Kept(one)) for one in given if one.about.unique_id in unique_ids)


def _one(reading: Reading, found: Kept) -> OneAnswer:
    is_in_force = found.is_in_force(reading.at.date())
    return OneAnswer(
        answer=replace(found.answer, about=known.shown(reading.facts, found.answer.about)),
        about=answered.title(found.answer.about, reading.facts),
        is_in_force=is_in_force,
        end=found.end,
        well_since=answered.well_since(reading.connection, found.answer, reading.facts) if is_in_force else None,
    )
