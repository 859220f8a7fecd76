"""For the data-health page: what dbt ran for each node last, and indexes that tell what is new."""

from alembic import op

revision = "0005"
down_revision = "0004"

# The last thing that ran for a model, snapshot or test, whatever run it was in.
COMPILED_SQL = """
create table ops.compiled_sql (
    unique_id text primary key,
    run_id text not null references ops.runs,
    sql text not null,
    recorded_at timestamptz not null default clock_timestamp()
)
"""
LATEST = "create index node_results_latest on ops.node_results (recorded_at)"
# When a run left its last result: without it, Postgres would look for it back through all that came since.
OF_RUN = "create index node_results_of_run on ops.node_results (run_id, recorded_at)"


def upgrade() -> None:
    """Create them; the SQL comes with the next run."""
    op.execute(COMPILED_SQL)
    op.execute(LATEST)
    op.execute(OF_RUN)


def downgrade() -> None:
    """Forget them."""
    op.execute("drop index ops.node_results_of_run")
    op.execute("drop index ops.node_results_latest")
    op.execute("drop table ops.compiled_sql")
