"""What runs observed of the data, what of it was unusual, what people answered, and promises at risk."""

from alembic import op

revision = "0017"
down_revision = "0016"

# A number about the data, by UTC day (`include.unusual.series`). Without a value there was nothing to measure.
# `unique_id` is dbt's: of a source, a model, or a metric. `observed_at` is as of when the data was, and `afterwards`
# says that this was later than the day after.
OBSERVATIONS = """
create table ops.observations (
    unique_id text not null,
    column_name text not null default '',
    measure text not null,
    item text not null default '',
    day date not null,
    value double precision,
    afterwards boolean not null default false,
    run_id text not null references ops.runs,
    observed_at timestamptz not null default clock_timestamp(),
    primary key (unique_id, column_name, measure, item, day)
)
"""
BY_DAY = "create index observations_by_day on ops.observations (day)"

# What a run found unusual, with what was to be expected then. `since` is the first day of a run of such days.
# `value` is the middle of so many `days`; what was expected was learned from `learned_from` days.
# `because` names the series that explains it, as this table's own columns do, in a JSON object.
UNUSUAL = """
create table ops.unusual (
    run_id text not null references ops.runs,
    unique_id text not null,
    column_name text not null default '',
    measure text not null,
    item text not null default '',
    day date not null,
    value double precision,
    expected double precision not null,
    least double precision not null,
    most double precision not null,
    score double precision not null,
    since date not null,
    because jsonb,
    holds boolean not null default false,
    days integer not null default 1,
    learned_from integer not null default 0,
    primary key (run_id, unique_id, column_name, measure, item)
)
"""

# Rows are only added: an answer ends by itself (`until`), or by a later one of the kind `end`.
# `unique_id` is that of a test, model, source or metric; the other columns name a series of it, where it is about one.
ANSWERS = """
create table ops.answers (
    answer_id bigint generated always as identity primary key,
    answered_at timestamptz not null default clock_timestamp(),
    answered_by text not null check (answered_by <> ''),
    name_given text not null default '',
    kind text not null check (kind in ('expected', 'mute', 'mine', 'end')),
    unique_id text not null,
    column_name text not null default '',
    measure text not null default '',
    item text not null default '',
    day date,
    until date,
    reason text not null check (reason <> ''),
    waives boolean not null default false,
    ends bigint references ops.answers
)
"""

# What `make prove` found out: how many planted faults would have been caught, and how many false alarms there were.
PROOFS = """
create table ops.proofs (
    proof_id bigint generated always as identity primary key,
    proved_at timestamptz not null default clock_timestamp(),
    result jsonb not null
)
"""

# A promise to publish by some time, of the run that is due at `due`, that was said to be at risk. `awaited` are the raw
# tables that had not come, of which loads after `loaded_since` count. `kept`, once its time has come: whether it was
# published by then, with what was awaited.
RISKS = """
create table ops.risks (
    due timestamptz primary key,
    promised_by timestamptz not null,
    said_at timestamptz not null,
    why text not null,
    awaited text[] not null,
    loaded_since timestamptz not null,
    kept boolean
)
"""


def upgrade() -> None:
    """Create them; observations come with the next run."""
    for statement in (OBSERVATIONS, BY_DAY, UNUSUAL, ANSWERS, PROOFS, RISKS):
        op.execute(statement)


def downgrade() -> None:
    """Forget them: what is expected is learned again, and answers are gone."""
    for table in ("risks", "proofs", "answers", "unusual", "observations"):
        op.execute(f"drop table ops.{table}")
