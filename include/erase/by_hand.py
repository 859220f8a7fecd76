"""The same in Airflow's UI: an action of `greenery_by_hand`."""

from __future__ import annotations

import logging

from airflow.sdk.exceptions import AirflowFailException

from include import settings
from include.erase.erasure import erase
from include.erase.places import EraseError

ERASE = "erase"
log = logging.getLogger(__name__)


def erase_in_airflow(login: str, user_id: str | None, reason: str) -> None:
    """Carry out what the form asks for, for the login that triggered it; the certificate in the log names nobody."""
    try:
        if not user_id:
            raise EraseError("To erase takes the id of a user, as raw.users.user_id has it. Nothing was erased.")
        certificate = erase(user_id.strip(), reason, lambda _: login, developer=_developer())
    except EraseError as error:
        raise AirflowFailException(str(error)) from error
    log.info("Keep this certificate for as long as backups live:\n%s", certificate.as_json())


def _developer() -> settings.Warehouse | None:
    """Who may drop sandboxes; None where nobody develops on this warehouse."""
    try:
        return settings.warehouse_developer()
    except ValueError:
        return None
