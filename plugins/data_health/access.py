"""Who may see the page, and who may answer there.

Whoever may see plugins in Airflow sees it; a monitor with its token sees the state alone.
"""

from __future__ import annotations

import secrets
from typing import Annotated
from urllib.parse import urlencode, urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity, DagDetails
from airflow.api_fastapi.auth.tokens import get_signing_key
from airflow.api_fastapi.core_api.security import get_user, requires_access_view
from fastapi import Depends, Request
from fastapi.responses import RedirectResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from itsdangerous import BadSignature, URLSafeTimedSerializer

from include import settings
from include.daily import DAG_ID

# Airflow mounts a plugin's app without any check of its own.
may_see = Depends(requires_access_view(AccessView.PLUGINS))
# The DAG of decisions by hand.
BY_HAND = "greenery_by_hand"
# For so long a form that was opened can be sent.
FORM_SECONDS = 12 * 3600


async def _is_monitor(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]
) -> None:
    token = settings.health_token()
    if token and given and secrets.compare_digest(given.credentials.encode(), token.encode()):
        return
    user = await get_user(request, None, given)
    may_see.dependency(request, user)


may_ask = Depends(_is_monitor)


def may_answer(user: BaseUser) -> bool:
    """Who may trigger the day, or decide by hand, may answer."""
    return _may_trigger(user, DAG_ID) or may_decide(user)


def may_decide(user: BaseUser) -> bool:
    """Who may decide by hand what people query."""
    return _may_trigger(user, BY_HAND)


def _may_trigger(user: BaseUser, dag_id: str) -> bool:
    return get_auth_manager().is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag_id), user=user
    )


def is_of_ours(request: Request) -> bool:
    """Whether a form was sent by a page of this very server, as the browser says.

    Browsers say where a request comes from over https alone (`Sec-Fetch-Site`); else the page's origin says it.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = urlsplit(request.headers.get("Origin", "")).netloc
    return bool(origin) and origin in (request.headers.get("Host"), urlsplit(settings.airflow_url()).netloc)


def token_for(user: BaseUser) -> str:
    """What a form of a user's holds, so that no other page can send it in their name."""
    return _signed().dumps(user.get_id())


def is_token_of(user: BaseUser, token: str) -> bool:
    """Whether a form was made for this user, and not too long ago."""
    try:
        return _signed().loads(token, max_age=FORM_SECONDS) == user.get_id()
    except BadSignature:
        return False


def _signed() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(get_signing_key("api", "secret_key"), salt="data-health answer")


def to_login(request: Request) -> RedirectResponse:
    """To Airflow's login, and back to the page that was asked for."""
    wanted = settings.health_path() + request.url.path.removeprefix(request.scope.get("root_path", ""))
    query = urlencode({"next": f"{wanted}?{request.url.query}" if request.url.query else wanted})
    return RedirectResponse(f"{settings.health_path().removesuffix(settings.HEALTH_PATH)}/api/v2/auth/login?{query}")
