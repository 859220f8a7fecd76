"""Registers with Airflow what a scheduler does before it forks: it warms tasks up, and leaves no orphans."""

from airflow.plugins_manager import AirflowPlugin

from include.daily import orphans
from include.daily.warm_up import WARM_UP


class GreeneryWarmUpPlugin(AirflowPlugin):
    """Tasks start with dbt and Cosmos loaded, and end with who looks after them."""

    name = "greenery_warm_up"
    listeners = [WARM_UP, orphans]
