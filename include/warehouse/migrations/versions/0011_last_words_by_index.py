"""The last words of a year's runs are counted from an index, without a look at the rows."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """In the order of `ops.last_words`, with what the list of runs counts."""
    op.execute("""
        create index node_results_last_words on ops.node_results (run_id, unique_id, recorded_at desc)
        include (status, resource_type)
    """)


def downgrade() -> None:
    """Drop it."""
    op.execute("drop index ops.node_results_last_words")
