"""By which schedule runs came since when: what was due is asked of the one that counted then."""

from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """The watchdog adds a row where the schedule is another one than before."""
    op.execute("""
        create table ops.schedules (
            schedule_id bigint generated always as identity primary key,
            schedule text,
            since timestamptz not null
        )
    """)


def downgrade() -> None:
    """Forget them."""
    op.execute("drop table ops.schedules")
