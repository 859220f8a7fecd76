"""Who may see the page: whoever may see plugins in Airflow; a monitor with its token sees the state alone."""

from __future__ import annotations

import secrets
from typing import Annotated
from urllib.parse import urlencode

from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import get_user, requires_access_view
from fastapi import Depends, Request
from fastapi.responses import RedirectResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from include import settings

# Airflow mounts a plugin's app without any check of its own.
may_see = Depends(requires_access_view(AccessView.PLUGINS))


async def _is_monitor(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]
) -> None:
    token = settings.health_token()
    if token and given and secrets.compare_digest(given.credentials.encode(), token.encode()):
        return
    user = await get_user(request, None, given)
    may_see.dependency(request, user)


may_ask = Depends(_is_monitor)


def to_login(request: Request) -> RedirectResponse:
    """To Airflow's login, and back to the page that was asked for."""
    wanted = settings.health_path() + request.url.path.removeprefix(request.scope.get("root_path", ""))
    query = urlencode({"next": f"{wanted}?{request.url.query}" if request.url.query else wanted})
    return RedirectResponse(f"{settings.health_path().removesuffix(settings.HEALTH_PATH)}/api/v2/auth/login?{query}")
