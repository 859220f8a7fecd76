"""When a run was last triggered or cleared; and messages that 0022 dated by when Slack took them get their own date."""

from alembic import op

revision = "0024"
down_revision = "0023"

# Unknown of the runs of before.
BEGUN_AT = "alter table ops.runs add column begun_at timestamptz"

# 0022 took all that a bot has sent for what had shown progress: a failure that waited for Slack for hours came to be
# told after the publish that ended it. What showed no progress was tried at once. Only engineers are shown progress, of
# a run: there the words came after the run's last result.
AS_IT_WAS_SENT = """
update ops.messages
set created_at = least(
    sent_at,
    greatest(
        tried_at,
        case when audience = 'engineers' then (
            select max(recorded_at)
            from ops.node_results
            where node_results.run_id = messages.run_id and recorded_at <= messages.sent_at
        ) end
    )
)
where ts is not null and created_at = sent_at and kind <> 'progress'
"""
# A run that was under way as 0022 passed got its last word from the old version, which left the date of its progress.
AS_PROGRESS_BEGAN = """
update ops.messages
set created_at = results.last_at
from (
    select run_id, min(recorded_at) as first_at, max(recorded_at) as last_at from ops.node_results group by run_id
) as results
where results.run_id = messages.run_id
    and ts is not null
    and audience = 'engineers'
    and kind <> 'progress'
    and created_at <= tried_at
    and created_at < first_at
    and last_at < sent_at
"""


def upgrade() -> None:
    """Add the column, and date what a bot has said anew."""
    op.execute(BEGUN_AT)
    op.execute(AS_PROGRESS_BEGAN)
    op.execute(AS_IT_WAS_SENT)


def downgrade() -> None:
    """Forget when runs began again; leave the dates, which are right, whoever reads them."""
    op.execute("alter table ops.runs drop column begun_at")
