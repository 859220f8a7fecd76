"""The live load carries rows in temporary tables, so the schema that it wrote to until then is dropped."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Dropped is what the live load has signed, where whoever migrates may do so; nothing reads it."""
    op.execute("""
        do $$
        declare
            place text;
        begin
            for place in
                select nspname from pg_namespace
                where obj_description(oid, 'pg_namespace')
                    = 'Of Greenery''s live load: whatever is in here is dropped by the next one.'
                    and pg_has_role(nspowner, 'usage')
            loop
                execute format('drop schema %I cascade', place);
            end loop;
        end $$
    """)


def downgrade() -> None:
    """The former live load makes it again."""
