"""What docs/operations.md tells people to run does what it says, on Airflow's real database and real files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include import backup
from include.local import postgres
from include.settings import PROJECT_ROOT, Warehouse

pytestmark = pytest.mark.db

DAY = 24 * 3600
OLD, NEW = 120, 5


# Through Airflow's own models, which know what a row needs in this version.
HISTORY = f"""
from datetime import timedelta
from airflow import settings
from airflow.models import DagModel, DagRun, Log
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.types import DagRunTriggeredByType
from airflow._shared.timezones.timezone import utcnow
settings.configure_orm()
with settings.Session() as session:
    session.add(DagBundleModel(name="dags-folder"))
    session.flush()
    for dag_id, ages in (("greenery_watchdog", ({OLD}, {OLD + 1}, {NEW})), ("greenery_daily", ({OLD}, {OLD + 1}))):
        session.add(DagModel(dag_id=dag_id, bundle_name="dags-folder", fileloc="", timetable_type=""))
        session.flush()
        for age in ages:
            at = utcnow() - timedelta(days=age)
            session.add(DagRun(dag_id=dag_id, run_id=f"{{age}}_days_ago", run_type="scheduled", state="success",
                run_after=at, start_date=at, logical_date=at, triggered_by=DagRunTriggeredByType.TIMETABLE))
    for age in ({OLD}, {NEW}):
        entry = Log(event=str(age))
        entry.dttm = utcnow() - timedelta(days=age)
        session.add(entry)
    session.commit()
"""


@pytest.fixture(scope="module")
def airflow(
    server: postgres.LocalPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, str], Connection]]:
    """Airflow's own database, migrated: the environment that names it, and a connection to it. It is empty at first."""
    home = tmp_path_factory.mktemp("airflow")
    name = f"airflow_{uuid.uuid4().hex[:12]}"
    postgres.ensure_database(server, name)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": server.url(name),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
    }
    subprocess.run(["airflow", "db", "migrate"], env=environment, check=True, capture_output=True, timeout=200)
    connection = psycopg2.connect(**server.database(name).libpq())
    connection.autocommit = True
    yield environment, connection
    connection.close()
    with postgres.admin(server) as cursor:
        cursor.execute(f'drop database "{name}" with (force)')


def command(title: str) -> str:
    """The block of docs/operations.md that begins with a comment."""
    [block] = re.findall(
        rf"^```sh\n(# {title}\n.*?)^```", (PROJECT_ROOT / "docs/operations.md").read_text(), re.M | re.S
    )
    return block


def test_retention_forgets_what_is_old_and_keeps_what_the_scheduler_counts_from(
    airflow: tuple[dict[str, str], Connection],
) -> None:
    environment, connection = airflow
    tmp_path = Path(environment["AIRFLOW_HOME"])
    subprocess.run([sys.executable, "-c", HISTORY], env=environment, check=True, timeout=100)
    for age in (OLD, NEW):
        folder = tmp_path / "logs" / "dag_id=greenery_daily" / f"run_id={age}"
        folder.mkdir(parents=True)
        (folder / "attempt=1.log").write_text("done")
        os.utime(folder / "attempt=1.log", (time.time() - age * DAY,) * 2)
        os.utime(folder, (time.time() - age * DAY,) * 2)
    for _ in range(2):  # the second time there is nothing to do; a folder that was emptied today goes the next week
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command("retention")],
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        for folder in tmp_path.glob("logs/*/*"):
            os.utime(folder, (time.time() - 2 * DAY,) * 2)
    with connection.cursor() as cursor:
        cursor.execute("select dag_id, run_id from dag_run order by 1, 2")
        assert cursor.fetchall() == [
            ("greenery_daily", f"{OLD}_days_ago"),  # the newest there is
            ("greenery_watchdog", f"{NEW}_days_ago"),
        ]
        cursor.execute("select event from log where event in ('120', '5')")
        assert cursor.fetchall() == [(str(NEW),)]
    assert [str(one.relative_to(tmp_path / "logs")) for one in (tmp_path / "logs").glob("dag_id=*/*")] == [
        f"dag_id=greenery_daily/run_id={NEW}"
    ]


def test_airflows_database_comes_back_from_a_backup_row_by_row(
    airflow: tuple[dict[str, str], Connection],
    server: postgres.LocalPostgres,
    warehouse: Warehouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment, connection = airflow
    with connection.cursor() as cursor:
        cursor.execute("insert into variable (key, val, is_encrypted) values ('season', 'it''s \\ autumn\n', false)")
        cursor.execute(
            "insert into connection (conn_id, conn_type, password, is_encrypted, is_extra_encrypted)"
            " values ('suppliers', 'http', 'gAAAA', true, false)"
        )
    monkeypatch.setenv("PATH", f"{Path(postgres.binary('psql')).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    assert backup.main(["save", str(tmp_path)]) == 0
    saved = capsys.readouterr().out.strip()
    elsewhere = f"{warehouse.database}_airflow"
    postgres.ensure_database(server, elsewhere)
    try:
        monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", server.url(elsewhere))
        assert backup.main(["restore", saved]) == 0
        with closing(psycopg2.connect(**server.database(elsewhere).libpq())) as restored:
            before, after = rows(connection), rows(restored)
        assert {("season", "it's \\ autumn\n")} == {(row["key"], row["val"]) for row in after["variable"]}
        assert after == before
        checked = {**environment, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": server.url(elsewhere)}
        subprocess.run(["airflow", "db", "check-migrations"], env=checked, check=True, capture_output=True, timeout=100)
    finally:
        with postgres.admin(server) as cursor:
            cursor.execute(f'drop database "{elsewhere}" with (force)')


def rows(connection: Connection) -> dict[str, list[dict]]:
    """Every row of every table of Airflow's."""
    with connection.cursor() as cursor:
        cursor.execute("select tablename from pg_tables where schemaname = 'public' order by 1")
        found = {}
        for (table,) in cursor.fetchall():
            cursor.execute(f'select to_jsonb(whole) from public."{table}" as whole order by whole::text')
            found[table] = [row for (row,) in cursor.fetchall()]
    return found
