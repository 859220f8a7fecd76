"""The warehouse's schemas, and `ops`: what the runs did, found and said."""

from alembic import op

from include import settings

revision = "0001"
down_revision = None

SCHEMAS = {
    settings.raw_schema(): "The shop's tables as its replica delivers them.",
    "staging": "Views of dbt on raw; closed to readers.",
    "snapshots": "History of orders and products. Can't be rebuilt: back it up.",
    "analytics": "not published yet",
    "analytics_next": "Where dbt builds what the next publish puts into analytics.",
}

RUNS = """
create table ops.runs (
    run_id text primary key,
    started_at timestamptz not null default now(),
    release text not null,
    published_at timestamptz,
    changes_told_until timestamptz
)
"""

NODE_RESULTS = """
create table ops.node_results (
    run_id text not null references ops.runs,
    task_id text not null,
    attempt integer not null,
    unique_id text not null,
    resource_type text not null,
    name text not null,
    status text not null,
    severity text,
    failures bigint,
    message text,
    seconds double precision not null,
    rows_affected bigint,
    failing_rows json not null default '[]',
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (run_id, task_id, attempt, unique_id)
)
"""

# Publish asks for the newest result of a node over all runs.
NEWEST = "create index node_results_newest on ops.node_results (unique_id, recorded_at desc)"

METRICS = """
create table ops.metrics (
    run_id text not null references ops.runs,
    metric text not null,
    value double precision,
    primary key (run_id, metric)
)
"""

MESSAGES = """
create table ops.messages (
    message_id bigint generated always as identity primary key,
    run_id text not null,
    kind text not null,
    created_at timestamptz not null default now(),
    headline text not null,
    body text not null,
    blocks jsonb not null,
    sent_at timestamptz,
    problem text
)
"""


def upgrade() -> None:
    """Create them; the schemas may be there already, where a loader came first."""
    for name, purpose in SCHEMAS.items():
        op.execute(f"create schema if not exists {name}")
        op.execute(f"comment on schema {name} is '{purpose.replace(chr(39), chr(39) * 2)}'")
    for statement in (RUNS, NODE_RESULTS, NEWEST, METRICS, MESSAGES):
        op.execute(statement)


def downgrade() -> None:
    """Forget what the runs recorded; schemas and data stay."""
    for table in ("messages", "metrics", "node_results", "runs"):
        op.execute(f"drop table ops.{table}")
