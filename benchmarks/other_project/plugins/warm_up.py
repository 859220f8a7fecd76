"""Registers the warm-up with Airflow."""

from airflow.plugins_manager import AirflowPlugin

from benchmarks.other_project import WARM_UP


class WarmUpPlugin(AirflowPlugin):
    """Tasks start with dbt and Cosmos loaded."""

    name = "warm_up"
    listeners = [WARM_UP]
