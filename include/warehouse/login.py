"""Who works at a command line, for what carries a login."""

from __future__ import annotations

import os
import pwd
import socket

from psycopg2.extensions import connection as Connection


def at_a_shell(connection: Connection) -> str:
    """Who decides at a command line: the login in the warehouse, and in brackets the system's."""
    try:
        system = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user has no name
        system = f"user {os.getuid()}"
    with connection.cursor() as cursor:
        cursor.execute("select session_user")
        return f"{cursor.fetchone()[0]} ({system} on {socket.gethostname()})"
