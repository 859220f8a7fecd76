"""
### Greenery, every day

Checks the shop's raw tables, builds and tests every dbt model, records what changed in the orders, and publishes the
marts all at once or not at all. Always ends in one Slack message. All details: [Data health](/data-health/).

| task | does | when it is red |
|---|---|---|
| `check_sources` | freshness, shape, tests of the raw tables | load again, then clear it with everything downstream |
| `build_ahead` | the work of `transform`, in one dbt | these tasks build; if a hook failed, `publish` says so |
| `transform` | one task a dbt model, with its tests | its log has dbt's error; what is downstream waits |
| `snapshot` | the history of orders, products and prices | a source's keys are broken; nothing was written |
| `history` | one task a model that reads the snapshots | as in `transform` |
| `cross_model_tests` | the tests that span several models | two marts disagree |
| `publish` | puts the tested marts into `analytics` | people see the former data; the message says why |
| `report` | the Slack message | the message waits in `ops.messages` |
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Param, chain, cross_downstream

from include import settings
from include.daily import DAG_ID, admission, task_groups
from include.daily.load_shop import load_before
from include.daily.report import report, report_backstop
from include.publish.publish import publish

project = admission.current_release()

with DAG(
    dag_id=DAG_ID,
    description="Greenery's marts: checked, built, tested, published, and reported in Slack",
    doc_md=__doc__.replace("/data-health/", settings.health_url()),
    schedule=settings.schedule(),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),  # which the cron expression is read in
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=4),
    default_args={"owner": "platform", "retries": 1, "retry_delay": timedelta(seconds=5)},
    params={"full_refresh": Param(False, type="boolean", description="Build every model from all of history, once.")},
    on_failure_callback=report_backstop,
    tags=["greenery", "dbt", "daily"],
):
    sources = task_groups.check_sources(project)
    load_before(sources)
    transform = task_groups.transform(project)
    snapshot = task_groups.snapshot(project)
    history = task_groups.history(project)
    across = task_groups.cross_model_tests(project, transform, snapshot, history)
    published = publish()
    reported = report().as_teardown()

    chain(sources, transform, snapshot, history, published, reported)
    chain(sources, task_groups.build_ahead(project), snapshot)  # which runs whatever becomes of it
    [snapshot, across] >> published
    # Snapshot runs in any case, so earlier failures have to reach what comes after it directly.
    cross_downstream([sources, *transform.iter_tasks()], [*history.iter_tasks(), published])
    # Publish is red as soon as one of them is; report waits for all of them.
    [snapshot, *history.iter_tasks(), across] >> reported
