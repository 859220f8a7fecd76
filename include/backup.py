"""Backup and restore of what nobody can rebuild: the history in `snapshots`, `ops`, and Airflow's own database.

    python -m include.backup save
    python -m include.backup list
    python -m include.backup check /backups/warehouse-20261124T073000Z
    python -m include.backup restore /backups/warehouse-20261124T073000Z
    python -m include.backup ready
    python -m include.backup moved

`save` and `list` take a folder, or that of GREENERY_BACKUP_DIR. Everything else comes from the loaders and from dbt.
PostgreSQL's own programs do the work (`include.warehouse.client`), as the warehouse's administrator and as the user of
AIRFLOW__DATABASE__SQL_ALCHEMY_CONN. Where that names no Postgres, only the warehouse is saved.

What `ops` knows of the two schemas that publish exchanges, it knows by their oids, which mean nothing in another
database, or something else. It is not restored: the next two runs build everything anew. A database that came to
another server as a whole, by pg_upgrade or pg_dump, has other oids as well; `moved` forgets them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
from croniter import croniter
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from sqlalchemy.exc import SQLAlchemyError

from include import raw, settings
from include.raw import lease, mapping
from include.results import trust
from include.results.backups import Made, note
from include.settings import Warehouse
from include.warehouse import backups, client, connect, exists, is_gone, migrate, roles
from include.warehouse.backups import AIRFLOW, KEPT_ASIDE, SCHEMAS, WAREHOUSE, Backup
from include.warehouse.client import BackupError

# What is about the two schemas that publish exchanges, by their oids in this very database.
OF_THE_BUFFERS = ("ops.watermarks", "ops.buffer_models", "ops.buffers")
# What a warehouse has that was just migrated and saw no run, but may have been saved already.
_FROM_THE_START = ("ops.alembic_version", "ops.watch", "ops.schedules", "ops.backups", "ops.erasure_key")

# An oid that no schema has, so that nobody takes what was published elsewhere for what is here.
_FORGET_BUFFERS = f"truncate {', '.join(OF_THE_BUFFERS)};\nupdate ops.publications set schema_oid = 0;\n"
# A run that was under way is not under way here, and what waited may have been sent since.
_FORGET_WHAT_WAS_UNDER_WAY = """
update ops.leases set released_at = clock_timestamp() where released_at is null;
update ops.messages set waiting = false, problem = 'It waited when the backup was made that it is from.' where waiting;
"""
# The same in Airflow: a scheduler would go on with runs whose tasks and releases are gone.
_END_WHAT_WAS_UNDER_WAY = """
update public.task_instance set state = 'failed', end_date = clock_timestamp()
where state in ('scheduled', 'queued', 'running', 'restarting', 'deferred', 'up_for_retry', 'up_for_reschedule');
update public.dag_run set state = 'failed', end_date = clock_timestamp() where state in ('queued', 'running');
"""


@dataclass(frozen=True)
class _Restored:
    """What becomes of one database: SQL before and after what the backup brings."""

    client: client.Client
    database: str
    before: str
    after: str


def save(
    folder: Path, where: Warehouse | None = None, airflow: Warehouse | None = None, *, now: datetime | None = None
) -> Path:
    """Write a backup into a folder of its own in `folder`; returns its path. Raises BackupError.

    Older ones are deleted beyond GREENERY_BACKUP_KEEP. `ops` remembers it, for the page and the watchdog. Where an
    older one has a longer history, neither is done, so that somebody hears of it.
    """
    where = where or settings.warehouse_admin()
    databases = {WAREHOUSE: where} | ({AIRFLOW: airflow} if airflow else {})
    saved = backups.save(folder, databases, of=where.database, kept=settings.backups_kept(), now=now)
    if longer := backups.with_longer_history(saved):
        raise BackupError(
            f"{saved.path} is saved, but {longer} has a longer history, and history only grows: some was lost since. "
            "No older backup was deleted, and this one counts as late. Restore the older one; or, if all is as it "
            "should be, move every backup with the longer history to another folder, and save again."
        )
    try:
        with connect("greenery backup", where) as connection:
            note(connection, _made(saved))
    except psycopg2.Error as error:
        raise BackupError(
            f"{saved.path} is saved, but ops could not be told, so that it seems late: {error}"
        ) from error
    return saved.path


def is_due(folder: Path, database: str, schedule: str, now: datetime) -> bool:
    """Whether no backup in the folder is as new as the last tick of the schedule. Raises ValueError for none.

    One that is named by a time to come, by a clock that was ahead, does not count.
    """
    made = [at for path in backups.paths(folder, of=database) if (at := backups.named_at(path)) <= now]
    return not made or max(made) < croniter(schedule, now).get_prev(datetime)


def restore(
    path: Path, where: Warehouse | None = None, airflow: Warehouse | None = None, *, replace: bool = False
) -> None:
    """Bring a backup into a warehouse that has no history of its own, and its roles up to date. Raises BackupError.

    It may be a database that was never migrated. With `replace` it may have a history: that is kept aside then, in
    `ops_replaced` and `snapshots_replaced`. The same of Airflow's database, where it is named and the backup has it
    (`public_replaced`). The backup is read to its end first. What it brings is counted before anybody sees it; then
    both databases change over, or neither does.
    """
    where = where or settings.warehouse_admin()
    with connect("greenery backup", where) as connection, connection.cursor() as cursor:
        programs = client.client(where, connection.server_version)
        backup = backups.check(path, connection.server_version // 10000)
        _check_is_known(backup)
        cursor.execute("set local idle_in_transaction_session_timeout = 0")  # it waits while others work
        lease.lock_raw(cursor)  # no run and no load begins; they would wait for the end of this block
        with connect("greenery backup", where) as other, other.cursor() as looking:
            schemas = "".join(f"create schema if not exists {schema};\n" for schema in roles.owners())
            before = _make_room(looking, where, replace=replace)
            after = f"{_FORGET_BUFFERS}{_FORGET_WHAT_WAS_UNDER_WAY}{schemas}"
        parts = [_Restored(programs, WAREHOUSE, before, after)]
        if airflow and AIRFLOW in backup.databases:
            with connect("greenery backup", airflow) as other, other.cursor() as looking:
                its = client.client(airflow, other.server_version)
                before = _make_room_for_airflow(looking, airflow, replace=replace)
            parts.insert(0, _Restored(its, AIRFLOW, before, _END_WHAT_WAS_UNDER_WAY))
        _change_over(backup, parts)
    make_ready(where, _made(backup))


def make_ready(where: Warehouse | None = None, made: Made | None = None) -> None:
    """Bring what a restore brought up to date, as it does itself unless it is killed. Raises BackupError.

    Migrations, raw tables, roles, and the view that reads `ops`; which knows of backups `made` before it alone. It can
    be called at any time.
    """
    where = where or settings.warehouse_admin()
    try:
        migrate.upgrade(where)
        with connect("greenery backup", where) as connection, connection.cursor() as cursor:
            raw.create(cursor, besides=mapping.to_show())  # who loads makes no table
            roles.ensure(connection)
            trust.renew(cursor)
            if made:
                note(connection, made)
            cursor.execute("analyze")
    except (psycopg2.Error, SQLAlchemyError, mapping.MappingError) as error:
        raise BackupError(
            f"The backup is restored, but not ready for use: {client.last_lines(str(error))}\nWhen that is mended, run "
            "`python -m include.backup ready`."
        ) from error


def moved(where: Warehouse | None = None) -> None:
    """Forget what `ops` knows of the two schemas, in a database that came here as a whole: the next runs rebuild."""
    with connect("greenery backup", where or settings.warehouse_admin()) as connection, connection.cursor() as cursor:
        cursor.execute(_FORGET_BUFFERS)


def _made(backup: Backup) -> Made:
    return Made(backup.path.name, backup.made_at, tuple(backup.databases), backup.size)


def _check_is_known(backup: Backup) -> None:
    """Raise BackupError for a backup of a newer version of this project."""
    known = migrate.known()
    if backup.revision not in known:
        raise BackupError(
            f"{backup.path} is from a newer version of this project: its ops is at migration {backup.revision}, and "
            f"the newest one here is {known[0]}. Restore it with that version."
        )


def _make_room(cursor: Cursor, where: Warehouse, *, replace: bool) -> str:
    """The SQL that takes away the schemas which the backup brings. Raises BackupError where history is in them."""
    if holding := lease.held(cursor):
        raise BackupError(
            f"{holding.holder} is under way in database {where.database} since {holding.taken_at:%d %b %H:%M} UTC; "
            "nothing was restored. Pause greenery_daily, wait for the run to end, then try again."
        )
    schemas = SCHEMAS[WAREHOUSE]
    cursor.execute("select schemaname, tablename from pg_tables where schemaname in %s order by 1, 2", (schemas,))
    held = []
    for table in cursor.fetchall():
        cursor.execute(sql.SQL("select exists (select from {})").format(sql.Identifier(*table)))
        if cursor.fetchone()[0] and ".".join(table) not in _FROM_THE_START:
            held.append(".".join(table))
    return _take_away(cursor, where, schemas, held, replace=replace)


def _make_room_for_airflow(cursor: Cursor, where: Warehouse, *, replace: bool) -> str:
    """The same of Airflow's database, where a login and the tables of `airflow db migrate` are no history."""
    cursor.execute(
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
    )
    if sessions := cursor.fetchone()[0]:
        raise BackupError(
            f"Database {where.database} is in use by {sessions} sessions; nothing was restored. Stop Airflow, then try "
            "again."
        )
    held = []
    for table, usual in (("dag_run", 0), ("connection", 0), ("variable", 0), ("ab_user", 1)):
        if exists(cursor, f"public.{table}"):
            cursor.execute(sql.SQL("select count(*) from {}").format(sql.Identifier("public", table)))
            held += [f"public.{table}"] if cursor.fetchone()[0] > usual else []
    return _take_away(cursor, where, SCHEMAS[AIRFLOW], held, replace=replace)


def _take_away(cursor: Cursor, where: Warehouse, schemas: tuple[str, ...], held: list[str], *, replace: bool) -> str:
    """The SQL for it. `held` are tables that hold what somebody may miss. Raises BackupError where there are any."""
    if not held:
        return "".join(f"drop schema if exists {schema} cascade;\n" for schema in schemas)
    aside = tuple(schema + KEPT_ASIDE for schema in schemas)
    if not replace:
        raise BackupError(
            f"Database {where.database} has a history of its own (in {', '.join(held[:3])}"
            f"{f' and {len(held) - 3} more tables' if len(held) > 3 else ''}); nothing was restored. Restore into an "
            "empty database; or, if the backup is to take its place, add --replace: what is there is kept aside, in "
            f"{' and '.join(aside)}."
        )
    cursor.execute("select nspname from pg_namespace where nspname in %s", (aside,))
    if left := [name for (name,) in cursor.fetchall()]:
        raise BackupError(
            f"Schema {' and '.join(left)} of a former restore is still there; nothing was restored. Drop it if nobody "
            "needs it, then try again."
        )
    cursor.execute("select nspname from pg_namespace where nspname in %s", (schemas,))
    return "".join(f"alter schema {name} rename to {name}{KEPT_ASIDE};\n" for (name,) in cursor.fetchall())


def _change_over(backup: Backup, parts: list[_Restored]) -> None:
    """A transaction in each database, in which all is restored and counted; then they are committed."""
    with ExitStack() as until_they_end:
        begun, so_far = [], "Nothing was restored from"
        for part in parts:
            with _named(backup.file(part.database), so_far):
                doing = until_they_end.enter_context(client.transaction(part.client))
                doing.run(part.before)
                doing.pour(backup.file(part.database))
                doing.run(_count(backup.databases[part.database].rows) + part.after)
                doing.settle()
                begun.append(doing)
        for part, doing in zip(parts, begun, strict=True):
            with _named(backup.file(part.database), so_far):
                doing.commit()
            so_far = "Only Airflow's database was restored, and the warehouse was not, from"


@contextmanager
def _named(file: Path, what: str) -> Iterator[None]:
    try:
        yield
    except BackupError as error:
        raise BackupError(f"{what} {file}: {error}") from error


def _count(rows: dict[str, int]) -> str:
    """SQL that fails unless each table has as many rows as the backup."""
    return "".join(
        f"do $count$ begin if (select count(*) from {table}) <> {number} then"  # noqa: S608 - as pg_dump calls it
        f" raise exception 'it has {number} rows of {table}, and they did not all arrive';"
        " end if; end $count$;\n"
        for table, number in rows.items()
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 where it was done, 1 where not, with a sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m include.backup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    saving = commands.add_parser("save", help="write a backup into a folder")
    listing = commands.add_parser("list", help="the backups in a folder, the newest first")
    for command in (saving, listing):
        command.add_argument("folder", type=Path, nargs="?", default=settings.backup_folder())
    saving.add_argument("--due", action="store_true", help="only if GREENERY_BACKUP_SCHEDULE wants one by now")
    checking = commands.add_parser("check", help="read a backup to its end")
    restoring = commands.add_parser("restore", help="bring a backup into a warehouse that has no history")
    for command in (checking, restoring):
        command.add_argument("backup", type=Path)
    restoring.add_argument("--replace", action="store_true", help="even if it has one, which is then kept aside")
    commands.add_parser("ready", help="after a restore that was killed at its end: brings what it brought up to date")
    commands.add_parser("moved", help="after pg_upgrade, or a copy of the whole database: the next runs rebuild")
    options = parser.parse_args(arguments)
    try:
        said = _COMMANDS[options.command](options)
    except (BackupError, ValueError) as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except psycopg2.Error as error:
        if not is_gone(error):
            raise
        print(f"A database can't be reached, so nothing was done: {error}", file=sys.stderr)
        return 1
    print(said, file=sys.stderr)
    return 0


def _save(options: argparse.Namespace) -> str:
    folder, where, airflow = _folder(options), settings.warehouse_admin(), settings.airflow_database()
    schedule = settings.backup_schedule()
    if options.due and not (schedule and is_due(folder, where.database, schedule, datetime.now(UTC))):
        return "No backup is due." if schedule else "No backup is ever due: GREENERY_BACKUP_SCHEDULE is not set."
    path = save(folder, where, airflow)
    print(path)
    said = "" if airflow else " Airflow's database is not in it: AIRFLOW__DATABASE__SQL_ALCHEMY_CONN names no Postgres."
    return f"Saved: {backups.read(path).size:,} bytes.{said}"


def _list(options: argparse.Namespace) -> str:
    there = backups.paths(_folder(options))
    for path in there:
        try:
            backup = backups.read(path)
        except BackupError as error:
            print(error)
        else:
            print(f"{path}  {backup.size:,} bytes  {' and '.join(backup.databases)}")
    return f"{len(there)} in {_folder(options)}"


def _folder(options: argparse.Namespace) -> Path:
    if options.folder is None:
        raise BackupError("Which folder? Name one, or set GREENERY_BACKUP_DIR.")
    return options.folder


def _check(options: argparse.Namespace) -> str:
    backup = backups.check(options.backup)
    rows = sum(number for dumped in backup.databases.values() for number in dumped.rows.values())
    return f"Whole: {rows:,} rows of {' and '.join(backup.databases)}, as of {backup.made_at:%d %b %Y %H:%M} UTC."


def _restore(options: argparse.Namespace) -> str:
    airflow = settings.airflow_database()
    restore(options.backup, airflow=airflow, replace=options.replace)
    said = (
        "Restored. Carry out again the erasures that the backup does not know of (`python -m include.erase --again`), "
        "load raw if it is not there, then trigger greenery_daily: it builds everything anew."
    )
    if AIRFLOW not in backups.read(options.backup).databases:
        return f"{said} Airflow's database is not in this backup."
    if not airflow:
        return f"{said} Airflow's database was not: AIRFLOW__DATABASE__SQL_ALCHEMY_CONN names no Postgres."
    return f"{said} Before Airflow starts, run `airflow db migrate`."


def _ready(_: argparse.Namespace) -> str:
    make_ready()
    return "Ready. Go on as after a restore: erasures, raw, then greenery_daily."


def _moved(_: argparse.Namespace) -> str:
    moved()
    return "Forgotten: the next two runs build everything anew."


_COMMANDS = {
    "save": _save,
    "list": _list,
    "check": _check,
    "restore": _restore,
    "ready": _ready,
    "moved": _moved,
}


if __name__ == "__main__":
    sys.exit(main())
