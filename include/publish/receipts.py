"""What a publish keeps for the receipts of its figures, in its transaction."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

import psycopg2
from psycopg2.extensions import cursor as Cursor

from include.daily.buffers import Buffer
from include.dbt_project.manifest import Manifest
from include.receipts import basis, kept_moves, told
from include.receipts.move import Found
from include.results import publications, trust
from include.results.failures import without_data
from include.settings import LIVE
from include.warehouse import transaction

# In seconds, for all of them. Readers wait meanwhile: what takes longer, as a view that computes all metrics of a shop,
# is no receipt.
WITHIN = 5.0

log = logging.getLogger(__name__)


def keep(
    cursor: Cursor,
    publication_id: int,
    run_id: str,
    buffer: Buffer,
    manifest: Manifest | None,
    moved: Collection[Found],
) -> None:
    """Note what is told from now on, on what it stands, what moved with it, and how far each mart can be trusted.

    Each may fail, as on tables of a stranger's project: that costs the receipt and a note for the message, no publish.
    Last what reads these tables, which may take all the time that there is.
    """
    cursor.execute("select current_setting('statement_timeout')")
    (before,) = cursor.fetchone()
    until = time.monotonic() + WITHIN
    for what, keep in (
        (
            "the loads and models that it stands on",
            lambda inner: basis.note(inner, publication_id, manifest, buffer.since),
        ),
        ("what moved of what was told", lambda inner: kept_moves.keep(inner, publication_id, moved)),
        (
            "how far each mart can be trusted",
            lambda inner: trust.note(inner, publication_id, run_id, manifest, buffer.since),
        ),
        (f"the view {LIVE}.{trust.NAME}", lambda inner: trust.show(inner, publication_id)),
        ("what its figures tell", lambda inner: told.note(inner, publication_id, LIVE)),
    ):
        try:
            with transaction(cursor.connection) as inner:
                inner.execute("set local statement_timeout = %s", (max(1, round(1000 * (until - time.monotonic()))),))
                keep(inner)
                inner.execute("set local statement_timeout = %s", (before,))
        except Exception as error:
            if cursor.connection.closed:  # and with it the publish
                raise
            by_postgres = isinstance(error, psycopg2.Error)  # which quotes values
            why = without_data(error.diag.message_primary or "") if by_postgres else type(error).__name__
            log.warning("The receipts lack %s: %s", what, why, exc_info=not by_postgres)
            publications.add_note(cursor, publication_id, f"{publications.lacking(what)}: {why}")
