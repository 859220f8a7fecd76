"""Decisions carry the login; a name that is typed is a note beside it."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Of former decisions only the name is known."""
    op.execute("alter table ops.decisions add column name_given text")
    op.execute("update ops.decisions set name_given = decided_by, decided_by = 'unknown login'")


def downgrade() -> None:
    """The name, where there is one, is all that was kept before."""
    op.execute("update ops.decisions set decided_by = name_given where name_given <> ''")
    op.execute("alter table ops.decisions drop column name_given")
