"""What the planner is told of the warehouse's disk, for every role that connects to it."""

from __future__ import annotations

import logging

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

# A page out of order costs hardly more than the next one, on an SSD and in memory. With Postgres' own 4, which is a
# spinning disk's, a day's changes look dearer to find through an index than by reading all of history.
SETTINGS = {"random_page_cost": "1.1"}

UNSET = "select current_database(), name from pg_settings where name = any(:names) and source = 'default'"

log = logging.getLogger(__name__)


def tell(connection: Connection) -> None:
    """Make them the database's own, for connections from now on, except where somebody has set them already.

    That takes the database's owner; where we are not, the log says what the owner should do.
    """
    for database, name in connection.execute(text(UNSET), {"names": list(SETTINGS)}).all():
        statement = f'alter database "{database}" set {name} = {SETTINGS[name]}'
        try:
            with connection.begin_nested():
                connection.execute(text(statement))
        except ProgrammingError as error:
            log.warning("%s Without `%s` a day gets slower as history grows", str(error.orig).strip(), statement)
