"""How long Airflow waits for its own database where no answer comes; `airflow.cfg` names these for its two drivers.

Who has no address of it, as a Celery worker, gets an engine of SQLite's instead, which takes none of them.
"""

from __future__ import annotations

from airflow.configuration import conf

from include.warehouse import TIMEOUTS

_IS_POSTGRES = conf.get_mandatory_value("database", "sql_alchemy_conn").startswith("postgresql")
PSYCOPG2 = dict(TIMEOUTS) if _IS_POSTGRES else {}
# It knows no keepalives: half a minute for a whole query.
ASYNCPG = {"timeout": 10, "command_timeout": 30} if _IS_POSTGRES else {}
