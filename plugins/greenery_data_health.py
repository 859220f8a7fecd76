"""Registers the data-health page with Airflow: under /data-health, in the navigation, and as a link on each task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink

from include import settings
from include.daily import DAG_ID

if TYPE_CHECKING:
    from airflow.models.taskinstancekey import TaskInstanceKey

NAME = "Data health"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The page as an ASGI app, imported when first asked: every process of Airflow loads plugins, one serves pages."""
    from plugins.data_health.app import app as page

    await page(scope, receive, send)


class DataHealthLink(BaseOperatorLink):
    """On each task of the daily run: what it found, on the run's page."""

    name = NAME

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Address of the task on its run's page; empty, and so not shown, for tasks of other DAGs."""
        if operator.dag_id != DAG_ID:
            return ""
        return settings.health_url("runs", ti_key.run_id, anchor=ti_key.task_id)


class GreeneryDataHealthPlugin(AirflowPlugin):
    """What state the data is in, behind Airflow's login."""

    name = "greenery_data_health"
    fastapi_apps = [{"name": NAME, "app": app, "url_prefix": settings.HEALTH_PATH}]
    external_views = [
        {
            "name": NAME,
            "href": settings.health_path() + "/",
            "destination": "nav",
            "url_route": "data-health",
            "icon": settings.health_path() + "/static/icon.svg",
            "icon_dark_mode": settings.health_path() + "/static/icon-dark.svg",
        }
    ]
    global_operator_extra_links = [DataHealthLink()]
