"""The releases of the dbt project that runs began with, for machines whose image has another one."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """A packed one is compressed already."""
    op.execute("""
        create table ops.releases (
            stamp text primary key,
            kept_at timestamptz not null default now(),
            packed bytea not null
        )
    """)
    op.execute("alter table ops.releases alter column packed set storage external")


def downgrade() -> None:
    """Drop it."""
    op.execute("drop table ops.releases")
