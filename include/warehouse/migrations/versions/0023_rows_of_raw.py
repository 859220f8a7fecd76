"""How many rows each raw table had, and in how many of its new ones each column was filled, as marts were published."""

from alembic import op

revision = "0023"
down_revision = "0022"

# One row for each raw table and publication, and one without a publication as the run that builds now found it.
# `filled` says by the kind of a row how many were looked at, and by column how many of these had a value; a kind of
# which too few rows were new is as before.
ROWS_OF_RAW = """
create table ops.rows_of_raw (
    publication_id bigint references ops.publications,
    table_name text not null,
    rows bigint not null,
    filled jsonb not null,
    unique (publication_id, table_name)
)
"""


def upgrade() -> None:
    """Create it; what is there is counted as the next run begins."""
    op.execute(ROWS_OF_RAW)


def downgrade() -> None:
    """Forget it."""
    op.execute("drop table ops.rows_of_raw")
