"""What was published when, from which run and on whose word: `ops.publications` and `ops.decisions`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include.settings import LIVE

# Decisions that put marts in front of people: the exchange of the schemas notes them.
PUBLISH, ROLL_BACK = "publish", "roll back"
# Decisions on what later runs may do.
HOLD, RELEASE = "hold", "release"
ACCEPT_HISTORY = "accept history"


@dataclass(frozen=True)
class Decision:
    """What somebody decided by hand, and why: `decided_by` is the login, `name_given` what was typed beside it."""

    decision_id: int
    action: str
    run_id: str | None
    decided_by: str
    reason: str
    decided_at: datetime
    name_given: str | None = None

    @property
    def by(self) -> str:
        """For a person: who decided. Nobody has checked a name that was typed."""
        return f"{self.decided_by}, who signs as {self.name_given}" if self.name_given else self.decided_by


@dataclass(frozen=True)
class Publication:
    """One exchange of the schemas: `run_id` built what people query since; that was first published at `data_as_of`."""

    publication_id: int
    run_id: str
    published_at: datetime
    data_as_of: datetime
    schema_oid: int
    notes: tuple[str, ...]
    decision: Decision | None


_PUBLICATIONS = """
select
    made.publication_id, made.run_id, made.published_at, made.data_as_of, made.schema_oid, made.notes,
    decisions.decision_id, decisions.action, decisions.run_id, decisions.decided_by, decisions.reason,
    decisions.decided_at, decisions.name_given
from ops.publications as made
left join ops.decisions on decisions.decision_id = made.decision_id
"""


def live(connection: Connection) -> Publication | None:
    """What people query now; None before the first time, and where only `ops` was restored from a backup."""
    return former(connection, LIVE)


def last(connection: Connection) -> Publication | None:
    """The last one, in this warehouse or the one that it is a copy of, without its decision: not all may read those."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select publication_id, run_id, published_at, data_as_of, schema_oid, notes
            from ops.publications
            order by publication_id desc
            limit 1
            """
        )
        row = cursor.fetchone()
    return Publication(*row[:5], tuple(row[5]), None) if row else None


def of_run(connection: Connection, run_id: str) -> Publication | None:
    """The last time at which a run put its marts in front of people, rollbacks to them not counted; None if never."""
    return _one(
        connection,
        f"{_PUBLICATIONS} where made.run_id = %s and made.published_at = made.data_as_of"
        " order by made.publication_id desc limit 1",
        run_id,
    )


def in_force(connection: Connection, at: datetime | None = None) -> Publication | None:
    """What people queried at a moment, by default now; None before the first publish."""
    return _one(
        connection,
        f"{_PUBLICATIONS} where made.published_at <= coalesce(%s, 'infinity'::timestamptz)"
        " order by made.publication_id desc limit 1",
        at,
    )


def named(connection: Connection, publication_ids: Collection[int]) -> dict[int, Publication]:
    """Publications by their ids."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_PUBLICATIONS} where made.publication_id = any(%s)", (list(publication_ids),))
        return {row[0]: _publication(row) for row in cursor.fetchall()}


def made_since(connection: Connection, run_id: str, begun: datetime | None) -> bool:
    """Whether a run was published since it was last triggered or cleared, whatever its task came to know of that."""
    made = of_run(connection, run_id)
    return bool(begun and made and made.published_at >= begun)


def former(connection: Connection, schema: str) -> Publication | None:
    """What was last published of the buffer that now goes by the name `schema`; None where nothing ever was."""
    return _one(
        connection,
        f"{_PUBLICATIONS} where made.schema_oid = to_regnamespace(%s)::oid order by made.publication_id desc limit 1",
        schema,
    )


def note(
    cursor: Cursor, run_id: str, schema: str, *, as_of: datetime | None, decision: Decision | None, notes: list[str]
) -> tuple[int, datetime]:
    """Call in the transaction that makes `schema` live; `as_of` is None where it is new.

    Returns the id of the publication, and as of when it is.
    """
    cursor.execute(
        """
        insert into ops.publications (published_at, run_id, schema_oid, data_as_of, decision_id, notes)
        select
            moment, %(run_id)s, to_regnamespace(%(schema)s)::oid, coalesce(%(as_of)s, moment), %(decision)s, %(notes)s
        from clock_timestamp() as moment
        returning publication_id, data_as_of
        """,
        {
            "run_id": run_id,
            "schema": schema,
            "as_of": as_of,
            "decision": decision.decision_id if decision else None,
            "notes": notes,
        },
    )
    return cursor.fetchone()


def add_note(cursor: Cursor, publication_id: int, told: str) -> None:
    """Call in the transaction of the publication: one thing more for its message."""
    cursor.execute(
        "update ops.publications set notes = notes || %s::text where publication_id = %s", (told, publication_id)
    )


def lacking(what: str) -> str:
    """How the note of a publication begins whose receipts lack something."""
    return f"Its receipts lack {what}"


def decide(
    connection: Connection, action: str, run_id: str | None, decided_by: str, reason: str, *, name: str = ""
) -> Decision:
    """Keep what somebody decided, in the caller's transaction. Raises ValueError without a login or a reason.

    `decided_by` is a login that somebody has checked: Airflow, or `warehouse.login.at_a_shell`. `name` is what they
    typed.
    """
    decided_by, reason = decided_by.strip(), reason.strip()
    if not decided_by or not reason:
        raise ValueError(f"To {action} takes a reason: people read it in the message and in ops.decisions")
    with connection.cursor() as cursor:
        cursor.execute(
            """
            insert into ops.decisions (action, run_id, decided_by, reason, name_given) values (%s, %s, %s, %s, %s)
            returning decision_id, action, run_id, decided_by, reason, decided_at, name_given
            """,
            (action, run_id, decided_by, reason, name.strip() or None),
        )
        return Decision(*cursor.fetchone())


def forget(connection: Connection, decision: Decision) -> bool:
    """Take back a decision that could not be carried out; False for one that took effect, though nobody heard so."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            delete from ops.decisions
            where decision_id = %(id)s and not exists (select from ops.publications where decision_id = %(id)s)
            """,
            {"id": decision.decision_id},
        )
        return cursor.rowcount > 0


def took_effect(connection: Connection, after: datetime, before: datetime) -> list[Decision]:
    """The decisions that took effect between two moments, the oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select
                decisions.decision_id, decisions.action, decisions.run_id, decided_by, reason, decided_at, name_given
            from ops.decisions
            left join ops.publications as made on made.decision_id = decisions.decision_id
            where (published_at is not null or action <> all(%s))
                and coalesce(published_at, decided_at) between %s and %s
            order by decisions.decision_id
            """,
            ([PUBLISH, ROLL_BACK], after, before),
        )
        return [Decision(*row) for row in cursor.fetchall()]


def hold(connection: Connection) -> Decision | None:
    """The decision that keeps runs from publishing; None where there is none, or it was released."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            select decision_id, action, run_id, decided_by, reason, decided_at, name_given
            from ops.decisions
            where action in (%s, %s)
            order by decision_id desc
            limit 1
            """,
            (HOLD, RELEASE),
        )
        row = cursor.fetchone()
    return Decision(*row) if row and row[1] == HOLD else None


def _one(connection: Connection, statement: str, *parameters: str | datetime | None) -> Publication | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        row = cursor.fetchone()
    return _publication(row) if row else None


def _publication(row: tuple) -> Publication:
    publication_id, run_id, published_at, data_as_of, schema_oid, notes, *decision = row
    made_by = Decision(*decision) if decision[0] else None
    return Publication(publication_id, run_id, published_at, data_as_of, schema_oid, tuple(notes), made_by)
