"""Which backups were made, so that the page and the watchdog know how old the newest is; since when to ask for one."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Ticks before now are no backup's to keep: who begins to make them is not late at once."""
    op.execute("""
        create table ops.backups (
            backup_id bigint generated always as identity primary key,
            name text not null,
            made_at timestamptz not null,
            databases text[] not null,
            bytes bigint not null
        )
    """)
    op.execute("alter table ops.watch add column backups_since timestamptz not null default now()")


def downgrade() -> None:
    """Drop both."""
    op.execute("alter table ops.watch drop column backups_since")
    op.execute("drop table ops.backups")
