"""Which stamps were ahead of the clock as a run began, and which models were written since the buffer was published."""

from alembic import op

revision = "0007"
down_revision = "0006"

# They are no loads of later, whenever their time comes.
AHEAD = "alter table ops.buffers add column ahead timestamptz[] not null default '{}'"
# Set in the transaction that writes the model, where `dirty` is set before it; taken back by publish.
WRITTEN = "alter table ops.buffer_models add column written boolean not null default true"
AS_PUBLISHED = """
update ops.buffer_models as models
set written = false
from ops.buffers
where buffers.schema_oid = models.schema_oid and not buffers.dirty
"""


def upgrade() -> None:
    """Add them; a run that is under way goes on."""
    for statement in (AHEAD, WRITTEN, AS_PUBLISHED):
        op.execute(statement)


def downgrade() -> None:
    """Forget them."""
    op.execute("alter table ops.buffer_models drop column written")
    op.execute("alter table ops.buffers drop column ahead")
