"""Which figures of a message are explained: those that differ much from the day that it compares them with."""

from __future__ import annotations

import logging
from datetime import date, timedelta
from decimal import Decimal
from time import monotonic

import psycopg2
from psycopg2.extensions import connection as Connection

from include.dbt_project import metrics
from include.dbt_project.manifest import Manifest
from include.receipts import explain
from include.results import figures, publications
from include.results.publications import Publication
from include.warehouse import connect, transaction
from include.words import Unit

# A tenth of the former value, or a point of what is in percent.
_PART, _POINT = Decimal("0.1"), Decimal("0.01")
# Seconds for all that is explained.
PATIENCE = 5

log = logging.getLogger(__name__)


def note(run_id: str, facts: Manifest) -> None:
    """Explain the figures that the message of a run tells, if people query what it published; keep that with it.

    What goes wrong is logged and costs the message nothing but that.
    """
    until = monotonic() + PATIENCE
    try:
        with connect("greenery explain") as connection:
            live = publications.live(connection)
            days = figures.open_days(connection, live) if live and live.run_id == run_id else None
            if not live or not days:
                return
            day = days[1]
            _, _, former_days = figures.of_former(connection, live)
            for one in metrics.told(facts):
                _note(connection, live, facts, one, day, former_days.get(one.name, day - timedelta(days=1)), until)
    except Exception:  # a stranger's project, or the warehouse: the message comes all the same
        log.exception("No figure is explained in the message of run %s.", run_id)


def _note(
    connection: Connection,
    live: Publication,
    facts: Manifest,
    metric: metrics.Metric,
    day: date,
    former_day: date,
    until: float,
) -> None:
    try:
        with transaction(connection) as cursor:
            cursor.execute("set local statement_timeout = %s", (f"{max(1, int((until - monotonic()) * 1000))}ms",))
            found = explain.values(connection, metric.name, (former_day, day))
            if len(found) == 2 and differs_much(found[former_day], found[day], metric.unit):
                explanation = explain.explain(connection, facts, metric.name, day, former_day)
                explain.keep(connection, live.publication_id, [explanation] if explanation else [])
    except psycopg2.Error as error:  # which quotes values
        log.warning("%s is not explained in the message: %s", metric.label, type(error).__name__)


def differs_much(former: Decimal, value: Decimal, unit: Unit) -> bool:
    """Whether a value differs by a tenth or more, or by a point where it is in percent."""
    return abs(value - former) >= (_POINT if unit is Unit.PERCENT else max(_PART * abs(former), _POINT))
