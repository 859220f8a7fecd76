"""What a monitor may ask with its token, and nothing else: the state of the data as JSON, and as a badge."""

from __future__ import annotations

import logging

import psycopg2
from fastapi import APIRouter
from fastapi.responses import Response
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from plugins.data_health import pages
from plugins.data_health.access import may_ask
from plugins.data_health.answers import Question, ask, to_json
from plugins.data_health.views import health
from plugins.data_health.views.health import Health, Status

COLORS = {
    Status.PUBLISHED: "#1c6b40",
    Status.RUNNING: "#1c6b40",
    Status.LATE: "#8a5200",
}
RED = "#b32020"
LABEL = "data"
# About how wide a character of the badge's font is, in pixels.
CHARACTER = 6.6

log = logging.getLogger(__name__)
router = APIRouter(dependencies=[may_ask])


@router.get("/health", response_model=Health, responses={503: {"model": Health}})
def state() -> Response:
    """The state of the data: 200 where it is published in time or a run is under way, else 503."""
    found = _state()
    return Response(to_json(found), 200 if found.is_well else 503, media_type="application/json")


@router.get("/badge.svg", include_in_schema=False)
def badge() -> Response:
    """The same as a small picture, for a page elsewhere."""
    found = _state()
    says = f"{found.status} {found.data_as_of:%-d %b %H:%M}" if found.data_as_of else str(found.status)
    left, right = (round(len(text) * CHARACTER) + 14 for text in (LABEL, says))
    drawn = pages.render(
        "badge.svg", label=LABEL, says=says, color=COLORS.get(found.status, RED), left=left, right=right
    )
    return Response(drawn, media_type="image/svg+xml")


def _state() -> Health:
    try:
        return ask(Question(health.read))
    except (psycopg2.Error, PoolTimeoutError) as error:
        log.error("The warehouse could not be asked for the state of the data: %s", error)
        return Health(Status.UNREACHABLE)
