"""What a model is called in its buffer, whether the buffer was written to, and what a test was asked."""

from alembic import op

revision = "0006"
down_revision = "0005"

# A model's `alias` differs from its name. Null where nothing was published since: the name, then.
IDENTIFIER = "alter table ops.buffer_models add column identifier text"
# Set before a buffer is first written to; taken back by the publish of what was built there.
DIRTY = "alter table ops.buffers add column dirty boolean not null default false"
# Until now that was told from the clock.
WRITTEN = """
update ops.buffers
set dirty = true
where exists (
    select from ops.buffer_models as models
    where models.schema_oid = buffers.schema_oid and models.built_at > buffers.since
)
"""
# From how many rows on the test was to fail, as it ran.
ERROR_IF = "alter table ops.node_results add column error_if text"


def upgrade() -> None:
    """Add them; a run that is under way goes on."""
    for statement in (IDENTIFIER, DIRTY, WRITTEN, ERROR_IF):
        op.execute(statement)


def downgrade() -> None:
    """Forget them."""
    op.execute("alter table ops.node_results drop column error_if")
    op.execute("alter table ops.buffers drop column dirty")
    op.execute("alter table ops.buffer_models drop column identifier")
