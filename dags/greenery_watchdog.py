"""
### Greenery, watched

Checks every five minutes whether the last due run of `greenery_daily` was published. A run is due an hour after its
tick, unless `GREENERY_PUBLISHED_BY_MINUTES` says otherwise.

* If nothing was published, it says so once a day, and once more when the data is back.
* If by what is usual nothing will be published in time, it says so before, once, to engineers.
* It sends messages that Slack did not take before.
* If a run ended without giving its lease on raw back (its `check_sources` was cleared alone), it gives it back, so
  that loaders can load again.
* If a run ended and its report was killed before it said so, it tells what became of the run; also of one that had told
  something before it was cleared.

The state of the data: [Data health](/data-health/).

A scheduler that is down can't run this: let cron, or a container beside it, run
`python -m include.daily.watchdog` as well.

| task | when it is red |
|---|---|
| `watch` | the warehouse or Slack can't be reached, or `GREENERY_SCHEDULE` is no cron expression: its log says which |
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from include import settings
from include.daily.watchdog import watch
from include.slack.notices import WATCHDOG

with DAG(
    dag_id=WATCHDOG,
    description="Says when Greenery's marts were not published in time, and when they are published again",
    doc_md=__doc__.replace("/data-health/", settings.health_url()),
    schedule="*/5 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),  # which the cron expression is read in
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=10),
    default_args={"owner": "platform"},
    tags=["greenery", "watchdog"],
):
    watch()
