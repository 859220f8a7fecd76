"""Registers the warm-up of task processes with Airflow."""

from airflow.plugins_manager import AirflowPlugin

from include.daily.warm_up import WARM_UP


class GreeneryWarmUpPlugin(AirflowPlugin):
    """Tasks start with dbt and Cosmos loaded."""

    name = "greenery_warm_up"
    listeners = [WARM_UP]
