"""When raw was last loaded before each publication was built from it: a view, so that it is told in one place."""

from alembic import op

revision = "0021"
down_revision = "0020"

# As far as anybody noted it. A UTC day that was not over then is not whole: a later load brings the rest of it.
LOADED_AT = """
create view ops.publication_loaded_at as
select
    publication_id,
    coalesce(
        (select max(loaded_at) from ops.publication_loads as loads where loads.publication_id = made.publication_id),
        raw_as_of,
        data_as_of
    ) as loaded_at
from ops.publications as made
"""


def upgrade() -> None:
    """Create it."""
    op.execute(LOADED_AT)


def downgrade() -> None:
    """Forget it."""
    op.execute("drop view ops.publication_loaded_at")
