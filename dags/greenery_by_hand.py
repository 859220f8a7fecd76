"""
### Greenery, by hand

The tests decide what people query. This DAG is for the day on which somebody knows better: trigger it, choose an
action, and say why. Slack hears of it at once, and `ops.decisions` keeps it, with the login that triggered it.

| action | does | is refused |
|---|---|---|
| `roll back` | puts the former marts back, in less than a second | once a run has written over them |
| `publish` | publishes what a run built although tests failed | if models are missing, or mix two moments of raw |
| `hold` | lets no run publish until the hold is ended | never |
| `release` | ends the hold | if there is none |
| `erase` | forgets the person whose `user_id` you give: orders and figures stay | if nobody has this id |

While a run is under way, `roll back`, `publish` and `erase` are refused as well; they don't wait.
The same from a shell: `python -m include.publish --help`, `python -m include.erase --help`.

An erasure leaves its certificate in `ops.erasures` and in the task's log. Airflow keeps the form, with the id in it:
delete the run of this DAG afterwards.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG, Param

from include.erase.by_hand import ERASE
from include.publish.by_hand import ACTIONS, decide_in_airflow

with DAG(
    dag_id="greenery_by_hand",
    description="Roll back, publish or hold back Greenery's marts by hand, with a reason",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "platform"},
    params={
        "action": Param("roll back", type="string", enum=[*ACTIONS, ERASE], description="What is to happen."),
        "reason": Param("", type="string", minLength=1, description="Why: people read it in the message."),
        "run_id": Param(None, type=["null", "string"], description="For publish: the run of greenery_daily."),
        "user_id": Param(None, type=["null", "string"], description="For erase: the person, by raw.users.user_id."),
    },
    tags=["greenery", "by hand"],
):
    decide_in_airflow()
