"""Warms up a Celery worker: importing this module does, and Celery imports it before it forks its processes.

`[celery] extra_celery_config` in `airflow.cfg` names it. Every process of the pool, and every task that it forks, then
finds dbt and the project loaded, and shares their memory.
"""

from include.daily.warm_up import WARM_UP

WARM_UP.follow()
