"""What a monitor may ask with its token, and nothing else: the state of the data as JSON, as gauges, and as badges."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import psycopg2
from fastapi import APIRouter, Path
from fastapi.responses import Response
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from plugins.data_health import pages
from plugins.data_health.access import may_ask
from plugins.data_health.answers import Question, ask, to_json
from plugins.data_health.views import exposed, health
from plugins.data_health.views.exposed import Trusted
from plugins.data_health.views.health import Health, Status

GREEN, AMBER, RED = "#1c6b40", "#8a5200", "#b32020"
COLORS = {
    Status.PUBLISHED: GREEN,
    Status.RUNNING: GREEN,
    Status.LATE: AMBER,
    Trusted.TESTED: GREEN,
    Trusted.LET_THROUGH: AMBER,
    Trusted.LATE: AMBER,
}
LABEL = "data"
# About how wide a character of the badge's font is, in pixels.
CHARACTER = 6.6


@dataclass(frozen=True)
class Gauge:
    """A number for Prometheus: its name, what it is, and how it follows from the state; None where unknown."""

    name: str
    says: str
    value: Callable[[Health, datetime], float | None]


def _if_known(value: Callable[[Health, datetime], float | None]) -> Callable[[Health, datetime], float | None]:
    return lambda found, at: None if found.status is Status.UNREACHABLE else value(found, at)


# deploy/monitoring has alerts and a dashboard on these.
GAUGES = (
    Gauge(
        "greenery_warehouse_reachable",
        "1 if the warehouse answers. While it does not, the others are absent.",
        lambda found, _: found.status is not Status.UNREACHABLE,
    ),
    Gauge(
        "greenery_published_late",
        "1 while what was due is not published.",
        _if_known(lambda found, _: found.late_since is not None),
    ),
    Gauge(
        "greenery_published_age_seconds",
        "The age of the data that people query. Absent before there is any.",
        _if_known(lambda found, at: (at - found.data_as_of).total_seconds() if found.data_as_of else None),
    ),
    Gauge(
        "greenery_run_failed",
        "1 if the last run ended without a publish.",
        _if_known(lambda found, _: found.status is Status.FAILED),
    ),
    Gauge(
        "greenery_messages_waiting",
        "Messages that Slack has not taken.",
        _if_known(lambda found, _: found.waiting_messages),
    ),
    Gauge(
        "greenery_unusual_figures",
        "Figures that are unusual by the data's own past, as the last run found.",
        _if_known(lambda found, _: found.unusual_figures),
    ),
    Gauge(
        "greenery_backup_late",
        "1 while a backup that was due is not made.",
        _if_known(lambda found, _: found.backup_late_since is not None),
    ),
    Gauge(
        "greenery_backup_age_seconds",
        "The age of the last backup. Absent before there is any.",
        _if_known(lambda found, at: (at - found.backup_as_of).total_seconds() if found.backup_as_of else None),
    ),
)

log = logging.getLogger(__name__)
router = APIRouter(dependencies=[may_ask])


@router.get("/health", response_model=Health, responses={503: {"model": Health}})
def state() -> Response:
    """The state of the data: 200 where it is published in time or a run is under way, else 503."""
    found = _state()
    return Response(to_json(found), 200 if found.is_well else 503, media_type="application/json")


@router.get("/metrics", include_in_schema=False)
def metrics() -> Response:
    """The same as gauges, in Prometheus' text format. A warehouse out of reach is a gauge too, and no error."""
    found, now = _state(), datetime.now(UTC)
    values = {gauge: value for gauge in GAUGES if (value := gauge.value(found, now)) is not None}
    lines = [f"# HELP {one.name} {one.says}\n# TYPE {one.name} gauge\n{one.name} {values[one]:.0f}\n" for one in values]
    return Response("".join(lines), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/badge.svg", include_in_schema=False)
def badge() -> Response:
    """The same as a small picture, for a page elsewhere."""
    found = _state()
    says = f"{found.status} {found.data_as_of:%-d %b %H:%M}" if found.data_as_of else str(found.status)
    return _badge(LABEL, says, COLORS.get(found.status, RED))


@router.get("/badge/{exposure}.svg", include_in_schema=False)
def badge_of(exposure: Annotated[str, Path(max_length=512)]) -> Response:
    """How far what an exposure reads can be trusted, for beside it. Raises LookupError for one that there is not."""
    try:
        found = ask(Question(exposed.read, (exposure,)))
    except (psycopg2.Error, PoolTimeoutError) as error:
        log.error("The warehouse could not be asked how far an exposure can be trusted: %s", error)
        return _badge(LABEL, str(Status.UNREACHABLE), RED)
    return _badge(found.label, found.says, COLORS.get(found.trusted, RED))


def _badge(label: str, says: str, color: str) -> Response:
    left, right = (round(len(text) * CHARACTER) + 14 for text in (label, says))
    drawn = pages.render("badge.svg", label=label, says=says, color=color, left=left, right=right)
    return Response(drawn, media_type="image/svg+xml")


def _state() -> Health:
    try:
        return ask(Question(health.read))
    except (psycopg2.Error, PoolTimeoutError) as error:
        log.error("The warehouse could not be asked for the state of the data: %s", error)
        return Health(Status.UNREACHABLE)
