"""Who was erased, without a name: certificates, stand-ins, the key of their hashes, and which columns are personal."""

from alembic import op

revision = "0016"
down_revision = "0015"

# The columns that the published project marks as personal, by name. `key_of` says of a column that it holds the key of
# a user or of an address: a stand-in takes its place, where any other one is emptied.
PERSONAL_COLUMNS = """
create table ops.personal_columns (
    column_name text primary key,
    key_of text check (key_of in ('user_id', 'address_id'))
)
"""

# The certificates. `changed` counts rows by table.
ERASURES = """
create table ops.erasures (
    erasure_id bigint generated always as identity primary key,
    erased_at timestamptz not null default clock_timestamp(),
    erased_by text not null check (erased_by <> ''),
    reason text not null check (reason <> ''),
    changed jsonb not null
)
"""

# Each erased user and address: the keyed hash of the id, what stands in for it, and the row of raw that does.
# `of_user` is the stand-in of the person whose address it is; an address that is `shared` stays for the others.
# Without `content` raw needs no row of it.
STAND_INS = """
create table ops.stand_ins (
    table_name text not null check (table_name in ('users', 'addresses')),
    hash text not null,
    stand_in text not null,
    of_user text not null,
    shared boolean not null default false,
    content jsonb,
    erasure_id bigint not null references ops.erasures,
    primary key (table_name, hash, of_user)
)
"""

# Without it nobody can try ids of a list until a hash is met.
ERASURE_KEY = "create table ops.erasure_key (key bytea not null)"
A_RANDOM_KEY = """
insert into ops.erasure_key
select sha256(convert_to(string_agg(gen_random_uuid()::text, ''), 'UTF8')) from generate_series(1, 4)
"""


def upgrade() -> None:
    """Create them; which columns are personal is noted with the next publish."""
    for statement in (PERSONAL_COLUMNS, ERASURES, STAND_INS, ERASURE_KEY, A_RANDOM_KEY):
        op.execute(statement)


def downgrade() -> None:
    """Forget them: from then on a load from the shop brings erased people back."""
    for table in ("erasure_key", "stand_ins", "erasures", "personal_columns"):
        op.execute(f"drop table ops.{table}")
