"""`ops.releases`: the releases of the dbt project that runs began with, for machines that never made them.

After an upgrade a run goes on with the release that it began with, in containers whose image has another one.
"""

from __future__ import annotations

from datetime import timedelta

from psycopg2.extensions import connection as Connection

from include.fast_cosmos.releases import Release, pack

# A run takes hours at most, and may be cleared a day later.
KEPT = timedelta(days=2)


def keep(connection: Connection, release: Release) -> None:
    """Keep a release that a run begins with, and forget those that no run of the last days began with.

    Raises ProjectError where it was changed after it was made.
    """
    with connection.cursor() as cursor:
        cursor.execute("select from ops.releases where stamp = %s", (release.stamp,))
        if cursor.fetchone() is not None:
            return
        cursor.execute(
            "insert into ops.releases (stamp, packed) values (%s, %s) on conflict do nothing",
            (release.stamp, pack(release)),
        )
        cursor.execute(
            """
            delete from ops.releases
            where kept_at < now() - %(kept)s
                and not exists (
                    select from ops.runs where release = releases.stamp and started_at > now() - %(kept)s
                )
            """,
            {"kept": KEPT},
        )


def find(connection: Connection, stamp: str) -> bytes | None:
    """A release as `pack` made it; None where it is not kept."""
    with connection.cursor() as cursor:
        cursor.execute("select packed from ops.releases where stamp = %s", (stamp,))
        row = cursor.fetchone()
    return bytes(row[0]) if row else None
