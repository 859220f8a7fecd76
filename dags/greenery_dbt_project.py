"""What is wrong with the dbt project, for Airflow's banner of import errors: file and line, in dbt's words.

This file has no DAG. A broken project must not break `greenery_daily`, which goes on with the last good release. So
this file raises the error instead.
"""

from __future__ import annotations

from include.dbt_project import release
from include.fast_cosmos.releases import ProjectError

if problem := release.problem():
    raise ProjectError(
        f"The dbt project can't be used; greenery_daily goes on with the last release that could.\n{problem.message}"
    )
