"""Who builds a run's models: one dbt ahead of their tasks, or the tasks."""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Null where nobody has begun; a run that is under way goes on."""
    op.execute("alter table ops.runs add column built_ahead boolean")


def downgrade() -> None:
    """Forget it."""
    op.execute("alter table ops.runs drop column built_ahead")
