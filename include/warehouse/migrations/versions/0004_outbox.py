"""The outbox: to whom each message goes, whether it still has to, and where in Slack it stands; since when to watch."""

from alembic import op

revision = "0004"
down_revision = "0003"

# A run's messages to an audience are counted, so that two senders can't add the same one. `waiting` is what is still
# to be sent, `tried_at` what may have arrived although nobody noted it.
OUTBOX = """
alter table ops.messages
    add column audience text not null default 'engineers' check (audience in ('engineers', 'stakeholders')),
    add column number integer default 1,
    add column waiting boolean not null default false,
    add column tried_at timestamptz,
    add column channel text,
    add column ts text
"""

# What was refused before is sent now; what was kept where there was no Slack stays kept.
WHAT_WAS_SAID = """
update ops.messages
set number = counted.number, waiting = sent_at is null and problem is not null
from (select message_id, row_number() over (partition by run_id order by message_id) as number from ops.messages)
    as counted
where counted.message_id = messages.message_id
"""

ONE_EACH = """
alter table ops.messages
    alter column number set not null,
    add constraint messages_one_each unique (run_id, audience, number)
"""
WAITING = "create index messages_waiting on ops.messages (message_id) where waiting"

# Days before it are nobody's to publish: a watchdog that begins on an empty warehouse has nothing to bark at.
WATCH = "create table ops.watch (since timestamptz not null)"
WATCH_FROM_NOW = "insert into ops.watch values (now())"


def upgrade() -> None:
    """Extend what is there; watching begins now."""
    for statement in (OUTBOX, WHAT_WAS_SAID, ONE_EACH, WAITING, WATCH, WATCH_FROM_NOW):
        op.execute(statement)


def downgrade() -> None:
    """Forget to whom messages went and where they stand, not the messages."""
    op.execute("drop table ops.watch")
    op.execute("drop index ops.messages_waiting")
    op.execute("alter table ops.messages drop constraint messages_one_each")
    for column in ("ts", "channel", "tried_at", "waiting", "number", "audience"):
        op.execute(f"alter table ops.messages drop column {column}")
