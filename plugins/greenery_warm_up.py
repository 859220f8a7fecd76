"""Registers the warm-up of task processes with Airflow."""

from airflow.plugins_manager import AirflowPlugin

from include.daily import warm_up


class GreeneryWarmUpPlugin(AirflowPlugin):
    """Tasks start with dbt and Cosmos loaded."""

    name = "greenery_warm_up"
    listeners = [warm_up]
