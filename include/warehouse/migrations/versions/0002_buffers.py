"""What each of the two buffers was built from, so that an incremental build knows what it lacks."""

from alembic import op

revision = "0002"
down_revision = "0001"

# A schema's oid stays with it when it is renamed, so it names the buffer through every publish.
BUFFERS = """
create table ops.buffers (
    schema_oid oid primary key,
    run_id text not null,
    since timestamptz not null,
    rebuild boolean not null,
    scan boolean not null,
    scanned_at timestamptz,
    products text
)
"""

BUFFER_MODELS = """
create table ops.buffer_models (
    schema_oid oid not null references ops.buffers on delete cascade,
    unique_id text not null,
    checksum text,
    rebuilt boolean not null,
    built_at timestamptz not null default clock_timestamp(),
    primary key (schema_oid, unique_id)
)
"""

WATERMARKS = """
create table ops.watermarks (
    schema_oid oid not null references ops.buffers on delete cascade,
    source text not null,
    loaded_at timestamptz not null default '-infinity',
    pending timestamptz not null,
    primary key (schema_oid, source)
)
"""


def upgrade() -> None:
    """Create them, empty: a buffer that they don't know is rebuilt."""
    for statement in (BUFFERS, BUFFER_MODELS, WATERMARKS):
        op.execute(statement)


def downgrade() -> None:
    """Forget the buffers."""
    for table in ("watermarks", "buffer_models", "buffers"):
        op.execute(f"drop table ops.{table}")
