"""The first task of a run where the shop's live database is named: raw is brought to where the shop is now."""

from __future__ import annotations

import logging

from airflow.sdk import BaseOperator, get_current_context, task

from include import settings
from include.daily import admission
from include.warehouse import pooler

log = logging.getLogger(__name__)


def load_before(sources: BaseOperator) -> None:
    """Draw the task `load` before the one that checks the sources; nothing where raw is loaded by somebody else."""
    if settings.shop_database_url():
        load() >> sources


@task(task_id="load")
def load() -> None:
    """Load what changed in the shop; all of it is compared where the run is asked for a full refresh.

    Before the run takes its lease on raw; where it is cleared alone, later, the run's own lease is no obstacle, and the
    tasks behind it refuse to go on with another moment of raw.
    """
    from include.raw import live  # loads SQLAlchemy, which no other task needs

    context = get_current_context()
    run_id = context["run_id"]
    admission.release_of(run_id)  # the run begins
    admission.refuse_if(context, pooler.problem(settings.warehouse_loader()))
    admission.let_go_of_ended(context)  # a run that ended without its report is no obstacle
    try:
        report = live.load_shop(
            everything=bool(context["params"].get("full_refresh")), reader=admission.holder_of(run_id)
        )
    except live.LoadError as error:
        admission.leave_reason(context, str(error))
        raise
    log.info("Loaded the shop: %s", report.summary())
