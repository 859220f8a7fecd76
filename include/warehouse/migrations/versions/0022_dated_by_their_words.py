"""`ops.messages.created_at` is when a message got its words, and no longer when it began to show progress."""

from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Date what a bot has said as it was sent; only a bot shows progress. What a webhook said was dated right."""
    op.execute("update ops.messages set created_at = sent_at where sent_at > created_at and ts is not null")


def downgrade() -> None:
    """Leave the dates: they are right, whoever reads them."""
