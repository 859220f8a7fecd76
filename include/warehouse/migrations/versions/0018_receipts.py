"""What each figure was told as, on which data and models it stood, what of it moved since, and why."""

from alembic import op

revision = "0018"
down_revision = "0017"

# What people query is as of when raw was read, and `macros` is a hash over the macros and variables that built it.
AS_OF = "alter table ops.publications add column raw_as_of timestamptz, add column macros text"

# A log of changes: what a metric tells of a day since a publication. Without a value it tells nothing of it any more.
# `newest` is the last word of each, which the next publication is compared with: that costs the same after years.
TOLD = """
create table ops.told (
    metric text not null,
    day date not null,
    publication_id bigint not null references ops.publications,
    value numeric,
    numerator numeric,
    denominator numeric,
    newest boolean not null default true,
    primary key (metric, day, publication_id)
)
"""
TOLD_NEWEST = "create index told_newest on ops.told (metric, day) include (value, numerator, denominator) where newest"
TOLD_BY_PUBLICATION = "create index told_by_publication on ops.told (publication_id)"

# The newest load of each raw table that a publication stands on, as `raw.loads` had it.
PUBLICATION_LOADS = """
create table ops.publication_loads (
    publication_id bigint not null references ops.publications,
    table_name text not null,
    loaded_at timestamptz not null,
    rows bigint,
    primary key (publication_id, table_name)
)
"""

# Each text of SQL once, by its hash (md5, in hexadecimal).
CODE = """
create table ops.code (
    hash text primary key,
    sql text not null
)
"""

# The models of a publication: `checksum` is that of the file as dbt has it, `code` what dbt made of it and ran.
PUBLICATION_MODELS = """
create table ops.publication_models (
    publication_id bigint not null references ops.publications,
    unique_id text not null,
    checksum text not null,
    code text references ops.code,
    primary key (publication_id, unique_id)
)
"""

# The marts of a publication, by their names in the database: how many tests that read each ended how, when the last
# did, and the last whole UTC day that the loads behind it cover. `analytics.trust` shows those of what is live.
PUBLICATION_MARTS = """
create table ops.publication_marts (
    publication_id bigint not null references ops.publications,
    mart text not null,
    tested_at timestamptz,
    tests_passed int not null,
    tests_warned int not null,
    tests_let_through int not null,
    complete_to date,
    primary key (publication_id, mart)
)
"""

# What a publication changed of what was told: a closed day, month or year of a metric (`include.receipts.move`).
# `parts` are its causes, each with its rows and what they add up to; `causes` those that are ours, in words.
MOVES = """
create table ops.moves (
    move_id bigint generated always as identity primary key,
    publication_id bigint not null references ops.publications,
    metric text not null,
    period text not null check (period in ('day', 'month', 'year')),
    starts date not null,
    told numeric,
    value numeric,
    usual boolean not null,
    adds_up boolean not null,
    parts jsonb not null,
    causes jsonb not null,
    unique (publication_id, metric, period, starts)
)
"""

# A receipt asks for the moves of its figure.
MOVES_BY_FIGURE = "create index moves_by_figure on ops.moves (metric, starts, period)"

# The rows behind the move of a day. `side` says which of a ratio's two numbers a row is counted in. `before` and
# `after` are what it counted for then and counts for now, null where it was not counted. `key` may name a person.
MOVED_ROWS = """
create table ops.moved_rows (
    move_id bigint not null references ops.moves on delete cascade,
    side text not null check (side in ('numerator', 'denominator')),
    unique_id text not null,
    key_column text not null,
    key text not null,
    what text not null check (what in ('late', 'gone', 'corrected', 'moved in', 'moved out')),
    before numeric,
    after numeric,
    changed text[] not null default '{}',
    other_day date,
    primary key (move_id, side, key)
)
"""

# Why a figure differs from that of an earlier day, as of its publication (`include.receipts.explanation`).
EXPLANATIONS = """
create table ops.explanations (
    publication_id bigint not null references ops.publications,
    metric text not null,
    day date not null,
    explanation jsonb not null,
    primary key (publication_id, metric)
)
"""

# The figures of a message: of which day each is, and of which publication.
STATED = """
alter table ops.metrics
    add column day date,
    add column publication_id bigint references ops.publications
"""


def upgrade() -> None:
    """Create them; what is published now is told with the next publish."""
    for statement in (
        AS_OF,
        TOLD,
        TOLD_NEWEST,
        TOLD_BY_PUBLICATION,
        PUBLICATION_LOADS,
        CODE,
        PUBLICATION_MODELS,
        PUBLICATION_MARTS,
        MOVES,
        MOVES_BY_FIGURE,
        MOVED_ROWS,
        EXPLANATIONS,
        STATED,
    ):
        op.execute(statement)


def downgrade() -> None:
    """Forget them."""
    op.execute("alter table ops.metrics drop column day, drop column publication_id")
    op.execute("drop table ops.publication_marts cascade")  # and the view analytics.trust on it
    for table in ("explanations", "moved_rows", "moves", "publication_models", "code", "publication_loads", "told"):
        op.execute(f"drop table ops.{table}")
    op.execute("alter table ops.publications drop column raw_as_of, drop column macros")
