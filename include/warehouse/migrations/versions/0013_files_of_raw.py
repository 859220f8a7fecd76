"""A buffer remembers in which file each raw table lay: in another one, rows may be gone that nobody noted."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Of the files of before nothing is known, and nothing is rebuilt for that."""
    op.execute("alter table ops.watermarks add column file oid")


def downgrade() -> None:
    """Drop it."""
    op.execute("alter table ops.watermarks drop column file")
