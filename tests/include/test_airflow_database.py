"""Who knows no Postgres of Airflow's, as these tests and a Celery worker, gets an engine of SQLite's."""

from __future__ import annotations

from include import airflow_database


def test_an_engine_of_sqlites_is_given_none_of_what_it_does_not_take() -> None:
    assert airflow_database.PSYCOPG2 == airflow_database.ASYNCPG == {}
