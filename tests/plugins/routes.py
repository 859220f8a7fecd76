"""Every route of what our plugins mount in Airflow's API server, found in the app: a new one is in by itself."""

from __future__ import annotations

import re
from urllib.parse import quote

from include import settings
from plugins.data_health.app import app

# Something for each kind of parameter in a path; whether there is such a thing makes no difference to who may ask.
PARAMETERS = {
    "name": "style.css",
    "run_id": "some",
    "metric": "revenue",
    "day": "2026-01-01",
    "message_id": "1",
    "answer_id": "1",
    "rest": "nowhere",
    "exposure": "sales_dashboard",
}
# What each route is asked with, besides what it is made for.
METHODS = ("GET", "POST", "PUT", "DELETE")


def path(template: str, **given: str) -> str:
    """The path of a route, its parameters filled in."""
    values = PARAMETERS | given
    filled = re.sub(r"\{(\w+)(?::path)?\}", lambda found: quote(values[found[1]], safe=""), template)
    return settings.HEALTH_PATH + filled


TEMPLATES = sorted({route.path for route in app.routes})
PATHS = sorted({path(template) for template in TEMPLATES})
# By method and path, what a route is made for: what changes something is among it.
MADE_FOR = {(method, path(route.path)) for route in app.routes for method in route.methods}
