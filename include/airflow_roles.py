"""Two roles in Airflow, for logins of its FAB auth manager: who may run the day, and who may decide what people query.

    python -m include.airflow_roles

After `airflow db migrate`; running it again changes nothing. Each is held beside Viewer, which reads. (Airflow's own
roles User, Op and Admin may trigger every DAG, so they may do both.)
"""

from __future__ import annotations

from include.daily import DAG_ID

RUN, DECIDE = "greenery_run", "greenery_decide"
# What each may do, as FAB calls it. What is said of all runs and task instances counts for the DAGs that one may edit.
ROLES = {
    RUN: [
        ("can_create", "DAG Runs"),
        ("can_edit", "DAG Runs"),
        ("can_edit", "Task Instances"),
        ("can_edit", f"DAG:{DAG_ID}"),
    ],
    DECIDE: [("can_create", "DAG Runs"), ("can_edit", "DAG:greenery_by_hand")],
}


def main() -> None:
    """Make the roles in the database of Airflow that the environment names."""
    # Only deployments have FAB; a laptop's one login may do everything.
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        builder.sm.bulk_sync_roles({"role": role, "perms": rights} for role, rights in ROLES.items())
    print(f"The roles are in place: {', '.join(ROLES)}")


if __name__ == "__main__":
    main()
