"""Whether the warehouse's disk has room for all marts a second time, where the server can be asked.

Postgres has no word for free space. So only a server on this machine is asked, by the folder that it keeps its data in,
and only one that tells us that folder: the local stack's does, another after `grant pg_read_all_settings to
greenery_transformer`. Tablespaces elsewhere are not looked at.
"""

from __future__ import annotations

import ipaddress
import shutil

from psycopg2.extensions import connection as Connection


def problem(connection: Connection, live: str, built: str) -> str | None:
    """Why everything can't be built anew into `built`, in words; None where there is room, or nobody can tell.

    Each table is written before the one in whose place it comes is dropped: what is live is taken for how much there
    will be, and the largest table of it is there twice for a moment.
    """
    free = _free(connection)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            with sizes as (
                select nspname, pg_total_relation_size(pg_class.oid) as bytes
                from pg_class
                join pg_namespace on pg_namespace.oid = relnamespace
                join ops.buffer_models as models on models.schema_oid = relnamespace
                    and relname = coalesce(models.identifier, split_part(models.unique_id, '.', 3))
                where nspname in (%(live)s, %(built)s) and relkind in ('r', 'm')
            ),
            needed as (
                select
                    coalesce(sum(bytes) filter (where nspname = %(live)s), 0)
                    - coalesce(sum(bytes) filter (where nspname = %(built)s), 0)
                    + coalesce(max(bytes) filter (where nspname = %(live)s), 0) as bytes
                from sizes
            )
            select bytes > %(free)s, pg_size_pretty(bytes), pg_size_pretty(%(free)s::numeric) from needed
            """,
            {"live": live, "built": built, "free": free},
        )
        lacks, needed, there = cursor.fetchone()
    if not lacks:
        return None
    return (
        f"Everything is to be built anew, which takes about {needed} more on the warehouse's disk, and {there} are "
        "free there; nothing was changed. Make room, then clear check_sources with everything downstream of it."
    )


def _free(connection: Connection) -> int | None:
    """Free bytes on the disk of a server on this machine."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select host(inet_server_addr()), (select setting from pg_settings where name = 'data_directory')"
        )
        address, folder = cursor.fetchone()
    if folder is None or not (address is None or ipaddress.ip_address(address).is_loopback):
        return None
    try:
        return shutil.disk_usage(folder).free
    except OSError:  # it is not here, or nobody else may look at it
        return None
