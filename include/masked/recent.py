"""The rows of the last days: sessions and orders that were touched since, whole, and all users, addresses and products.

What is kept leads nowhere that is not kept: a session brings its orders, and an order the sessions that it is in.
"""

from __future__ import annotations

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include import raw
from include.masked.tables import RAW, Table

# Counted from the newest event or order, so that a shop of the past has days as well.
_SINCE = """
    select
        least(now(), greatest((select max(created_at) from {events}), (select max(created_at) from {orders})))
        - make_interval(days => %s)
"""
# Events without a session are taken for those of one. (With `or` in its place, Postgres compares each with each.)
_SESSIONS = """
    with recursive kept (session_id) as (
        select coalesce(session_id, '')
        from {events} as events
        left join {orders} as orders using (order_id)
        where events.created_at >= {since} or orders.created_at >= {since}
        union
        select coalesce(others.session_id, '')
        from kept
        join {events} as events using (session_id)
        join {events} as others on others.order_id = events.order_id
    )
    select session_id from kept
"""
_ORDERS = """
    select order_id from {orders} where created_at >= {since}
    union
    select order_id from {events} where coalesce(session_id, '') in ({sessions}) and order_id is not null
"""


def condition(cursor: Cursor, table: Table, days: int) -> sql.Composable:
    """Which rows of a table a copy of the last days has."""
    places = {"events": raw.named("events"), "orders": raw.named("orders")}
    cursor.execute(sql.SQL(_SINCE).format(**places), (days,))
    [[since]] = cursor.fetchall()
    places["since"] = sql.Literal(since)
    places["sessions"] = sql.SQL(_SESSIONS).format(**places)
    if table.schema == RAW and table.name == "events":
        return sql.SQL("coalesce(session_id, '') in ({})").format(places["sessions"])
    if "order_id" in {column.name for column in table.columns}:
        return sql.SQL("order_id in ({})").format(sql.SQL(_ORDERS).format(**places))
    return sql.SQL("true")
