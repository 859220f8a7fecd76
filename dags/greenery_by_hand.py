"""
### Greenery, by hand

What people query is decided by the tests. This is for the day on which somebody knows better: trigger it, choose what
is to happen, and say who you are and why. Slack is told at once, and `ops.decisions` keeps it.

| action | does | is refused |
|---|---|---|
| `roll back` | puts the former marts back, in less than a second | once a run has written over them |
| `publish` | publishes what a run built although tests failed | if that is not whole, or not of one moment |
| `hold` | lets no run publish until further notice | never |
| `release` | lets runs publish again | if nobody holds them back |

While a run is under way, the first two wait for nobody and are refused as well.
The same from a shell: `python -m include.publish --help`.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG, Param

from include.publish.by_hand import ACTIONS, decide_in_airflow

with DAG(
    dag_id="greenery_by_hand",
    description="Roll back, publish or hold back Greenery's marts by hand, with a name and a reason",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "platform"},
    params={
        "action": Param("roll back", type="string", enum=list(ACTIONS), description="What is to happen."),
        "decided_by": Param("", type="string", minLength=1, description="Who you are: people read it in the message."),
        "reason": Param("", type="string", minLength=1, description="Why."),
        "run_id": Param(None, type=["null", "string"], description="For publish: the run of greenery_daily."),
    },
    tags=["greenery", "by hand"],
):
    decide_in_airflow()
