"""Marts say what they follow, so the lists of changed keys that were models until then are dropped."""

from alembic import op

revision = "0009"
down_revision = "0008"

LISTS = ("events", "orders", "users", "sessions", "buyers", "products", "days", "product_days", "visit_days")
LISTS += ("first_order_days", "order_history")


def upgrade() -> None:
    """Nothing is lost with them: each run made them again."""
    for name in LISTS:
        op.execute(f"drop table if exists staging.int_changed_{name}")


def downgrade() -> None:
    """The former project makes them again."""
