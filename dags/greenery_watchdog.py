"""
### Greenery, watched

Asks every five minutes whether what `greenery_daily` should have published by now is there: an hour after its tick,
unless `GREENERY_PUBLISHED_BY_MINUTES` says otherwise. Says so once a day where it is not, and once more when it is;
sends messages that Slack did not take before. A run that ended without giving the raw tables back (its `check_sources`
was cleared alone) keeps no loader out after that.
What state the data is in: [Data health](/data-health/).

A scheduler that is down can't run this: let cron, or a container beside it, run
`python -m include.daily.watchdog` as well.

| task | when it is red |
|---|---|
| `watch` | the warehouse or Slack can't be reached, or `GREENERY_SCHEDULE` is no cron expression: its log says which |
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG

from include import settings
from include.daily.watchdog import watch
from include.slack.notices import WATCHDOG

with DAG(
    dag_id=WATCHDOG,
    description="Says so when Greenery's marts were not published in time, and when they are again",
    doc_md=__doc__.replace("/data-health/", settings.health_url()),
    schedule="*/5 * * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=10),
    default_args={"owner": "platform"},
    tags=["greenery", "watchdog"],
):
    watch()
