"""What each run said last of each node: a view, so that it is told in one place."""

from alembic import op

revision = "0008"
down_revision = "0007"

# A retried or cleared task replaces what it said before.
LAST_WORDS = """
create view ops.last_words as
select distinct on (run_id, unique_id) *
from ops.node_results
order by run_id, unique_id, recorded_at desc
"""


def upgrade() -> None:
    """Create it; a column that is added to the table later has to be added to the view as well."""
    op.execute(LAST_WORDS)


def downgrade() -> None:
    """Forget it."""
    op.execute("drop view ops.last_words")
