"""What was published when and on whose word, who may read or write raw now, and what the snapshots held last."""

from alembic import op

revision = "0003"
down_revision = "0002"

# What people decided by hand, and why.
DECISIONS = """
create table ops.decisions (
    decision_id bigint generated always as identity primary key,
    decided_at timestamptz not null default clock_timestamp(),
    action text not null check (action in ('publish', 'roll back', 'hold', 'release', 'accept history')),
    run_id text,
    decided_by text not null check (decided_by <> ''),
    reason text not null check (reason <> '')
)
"""

# Each exchange of the two schemas: whose marts people query since, and as of when these were first published.
PUBLICATIONS = """
create table ops.publications (
    publication_id bigint generated always as identity primary key,
    published_at timestamptz not null default clock_timestamp(),
    run_id text not null references ops.runs,
    schema_oid oid not null,
    data_as_of timestamptz not null,
    decision_id bigint references ops.decisions,
    notes text[] not null default '{}'
)
"""

KEEP_WHAT_WAS_PUBLISHED = """
insert into ops.publications (published_at, run_id, schema_oid, data_as_of)
select published_at, run_id, to_regnamespace('analytics')::oid, published_at
from ops.runs
where published_at is not null
order by published_at desc
limit 1
"""

# A run reads raw from its first task to its report; one at a time, and no load meanwhile.
LEASES = """
create table ops.leases (
    lease_id bigint generated always as identity primary key,
    holder text not null,
    taken_at timestamptz not null default clock_timestamp(),
    renewed_at timestamptz not null default clock_timestamp(),
    released_at timestamptz
)
"""
ONE_LEASE = "create unique index leases_one_open on ops.leases ((true)) where released_at is null"

SNAPSHOTS = """
create table ops.snapshots (
    name text primary key,
    rows bigint not null,
    config jsonb not null,
    run_id text not null,
    seen_at timestamptz not null default clock_timestamp()
)
"""


def upgrade() -> None:
    """Create them; what is published now stays known."""
    for statement in (DECISIONS, PUBLICATIONS, KEEP_WHAT_WAS_PUBLISHED, LEASES, ONE_LEASE, SNAPSHOTS):
        op.execute(statement)
    op.execute("alter table ops.runs drop column published_at")


def downgrade() -> None:
    """Forget them, except when each run was published."""
    op.execute("alter table ops.runs add column published_at timestamptz")
    op.execute(
        "update ops.runs set published_at = (select max(published_at) from ops.publications"
        " where publications.run_id = runs.run_id and published_at = data_as_of)"
    )
    for table in ("snapshots", "leases", "publications", "decisions"):
        op.execute(f"drop table ops.{table}")
