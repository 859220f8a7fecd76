"""The live load: makes the raw tables a replica of a running shop's database, a Postgres named by SHOP_DATABASE_URL.

dlt carries what changed from there into a schema beside raw; what differs is then written to raw by
`include.raw.load`, in one transaction together with the *mark*, up to which the shop has been followed. Whatever is
killed meanwhile, raw and mark are as they were, and the next load begins at the mark again.

All tables are read in one snapshot of the shop's, so that raw is one moment of it. What changed since the mark is what
was written by transactions that this snapshot sees and the mark's didn't (`xmin`): no column of the shop's has to say
so, and nothing is missed that was committed late. Rows that went are found by counting: where raw would hold more rows
than the shop, keys are compared. Once a week, and where the mark is of no use, everything is compared.

    python -m include.raw.live
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extensions import parse_dsn
from sqlalchemy import Column, MetaData, Text, create_engine, event, text
from sqlalchemy import Connection as ShopConnection
from sqlalchemy import Table as ShopTable
from sqlalchemy.engine import URL

from include import raw, settings
from include.raw import load, mapping
from include.raw.contract import TABLES, Table
from include.raw.load import LoadError, LoadReport
from include.raw.mapping import Mapped, MappingError
from include.warehouse import connect

ORIGIN = "live shop"
COMPARE_ALL_EVERY = timedelta(days=7)
# How the keys of a table are called where they are carried, after the table; and all rows, as a condition.
_KEYS = "_keys"
_ALL = sql.SQL("true")
# Any number that nobody else asks for: one live load at a time.
_ALONE = 7_047_733_680
_MARK = sql.SQL("""
create table if not exists {} (
    source text not null,
    position bigint not null,
    columns jsonb not null,
    compared_at timestamptz not null
)
""")
# Columns of the shop's that came, went or changed their type, which the contract knows nothing of.
_DRIFT = sql.SQL("""
create table if not exists {} (
    table_name text not null,
    column_name text not null,
    column_type text not null,
    seen_at timestamptz not null
)
""")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mark:
    """Up to where a shop was followed: which database, read how, and its oldest transaction that was not over by then.

    `columns` are the shop's types by column, by raw table.
    """

    source: str
    position: int
    columns: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Shop:
    """The shop's database in one snapshot: where each raw table is in it, and which SQL each column of it is."""

    url: str
    cursor: Cursor
    snapshot: str
    mark: Mark
    tables: dict[str, sql.Identifier]
    values: dict[str, dict[str, sql.Composable]]


def load_shop(*, everything: bool = False, reader: str = "") -> LoadReport:
    """Bring the raw tables to where the shop is now; `everything` compares all rows, not only those that changed.

    `reader` may hold the lease on raw meanwhile. Columns that the shop has got, lost or retyped are told in the
    report's notes and kept in `raw.shop_drift`. Raises LoadError, with raw as it was.
    """
    url = settings.shop_database_url()
    if not url:
        raise LoadError("SHOP_DATABASE_URL names no database to load from")
    if not _is_an_address(url):
        raise LoadError(
            "the shop was not loaded, and raw is as it was: SHOP_DATABASE_URL is no address of a Postgres; in a "
            "password, %, @, / and : have to be percent-encoded"
        )
    if "__" in settings.incoming_schema():  # which dlt would write as one
        raise LoadError(
            f"GREENERY_RAW_SCHEMA is {settings.raw_schema()}, and no live load can write beside a schema with __ in "
            "its name, or _ at its end; give it another name"
        )
    try:
        with connect("greenery live load", settings.warehouse_loader()) as warehouse, warehouse.cursor() as cursor:
            _be_alone(warehouse, cursor)
            with _reading(url) as shop:
                former = _former(cursor, shop.mark)
                warehouse.commit()  # nothing is held in the warehouse while rows are carried
                everything, keys = _carry_changes(warehouse, shop, None if everything else former)
            drift = _drift(cursor, shop.mark)
            load.prepare(cursor, reader=reader)
            report = _write(cursor, everything, keys, drift)
            _remember(cursor, shop.mark, drift, compared=everything)
            warehouse.commit()
            _clear(cursor)
            return report
    except (psycopg2.Error, MappingError) as error:
        said = str(error).strip().replace(url, "SHOP_DATABASE_URL")
        # Not from the error: what a driver knows of a connection, its password included, is in no log then.
        raise LoadError(f"the shop was not loaded, and raw is as it was: {said}") from None


def _is_an_address(url: str) -> bool:
    """Whether libpq takes no piece of a password for something else, which it would then tell in its errors."""
    try:
        parts = parse_dsn(url)
    except psycopg2.Error:  # which quotes what it does not understand
        return False
    return not (
        "@" in parts.get("host", "") + parts.get("dbname", "")
        or re.fullmatch(r"[0-9]*(,[0-9]*)*", parts.get("port", "")) is None
    )


def _be_alone(warehouse: Connection, cursor: Cursor) -> None:
    """Until this connection ends no other live load begins; raises LoadError while one is under way."""
    cursor.execute("select pg_try_advisory_lock(%s)", (_ALONE,))
    if not cursor.fetchone()[0]:
        raise LoadError("another live load is under way; wait for it to end, then load again")
    raw.create_schema(cursor)
    if not raw.create_incoming_schema(cursor):
        raise LoadError(
            f"the schema {settings.incoming_schema()} holds tables of somebody else's, and the live load would drop "
            "them; nothing was loaded. Move them, or drop them if nobody needs them, then load again"
        )
    _clear(cursor)
    warehouse.commit()


def _clear(cursor: Cursor) -> None:
    """Drop what was carried, this time or by a load that was killed."""
    cursor.execute("select tablename from pg_tables where schemaname = %s", (settings.incoming_schema(),))
    for (name,) in cursor.fetchall():
        cursor.execute(sql.SQL("drop table {}").format(sql.Identifier(settings.incoming_schema(), name)))


@contextmanager
def _reading(url: str) -> Iterator[Shop]:
    """The shop in a snapshot that is held, for others to read in as well, until the block ends."""
    mapped = mapping.read(settings.dbt_source_dir())
    with closing(_connect_to_shop(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            """
            select pg_export_snapshot(), pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
                format('%s, timeline %s, database %s', system_identifier, timeline_id, databases.oid)
            from pg_control_system(), pg_control_checkpoint(), pg_database as databases
            where datname = current_database()
            """
        )
        snapshot, position, system = cursor.fetchone()
        tables, values, columns, oids = {}, {}, {}, []
        for table in TABLES.values():
            source = mapped.get(table.name, Mapped(settings.shop_database_schema(), table.name, {}, {}))
            columns[table.name] = types = mapping.types(cursor, source)
            oids.append(_oid(cursor, source))
            tables[table.name] = sql.Identifier(source.schema, source.table)
            values[table.name] = {name: mapping.value(table.name, name, source, types) for name in table.columns}
        read = sql.SQL(", ").join(value for by_column in values.values() for value in by_column.values())
        known = f"{read.as_string(cursor)}{tables}{oids}"
        how = hashlib.blake2b(known.encode(), digest_size=8).hexdigest()
        yield Shop(url, cursor, snapshot, Mark(f"{system} read as {how}", position, columns), tables, values)


def _oid(cursor: Cursor, source: Mapped) -> int:
    """Which table it is: one that was put in its place has another. Raises MappingError where it is no table."""
    cursor.execute(
        "select oid, relkind in ('r', 'p') from pg_class where oid = to_regclass(format('%%I.%%I', %s, %s))",
        (source.schema, source.table),
    )
    oid, is_table = cursor.fetchone()
    if not is_table:
        raise MappingError(
            f"{source.schema}.{source.table} is no table, and only of a table's rows can be told when they were "
            f"written; name the table that it shows, in {mapping.FILE}"
        )
    return oid


def _connect_to_shop(url: str) -> Connection:
    connection = psycopg2.connect(
        url,
        application_name="greenery live load",
        # The snapshot is held by a transaction that waits while others read in it.
        options="-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c idle_in_transaction_session_timeout=0",
        connect_timeout=10,
    )
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    return connection


def _former(cursor: Cursor, now: Mark) -> Mark | None:
    """The mark of the last load; None where all is to be compared.

    That is where none is of this database and its tables, where something else was loaded since, and once a week.
    """
    if not raw.exists(cursor, "shop_mark") or load.last_origin(cursor) != ORIGIN:
        return None
    cursor.execute(
        sql.SQL(
            "select source, position, columns from {} where source = %s and position <= %s"
            " and compared_at > clock_timestamp() - %s"
        ).format(raw.named("shop_mark")),
        (now.source, now.position, COMPARE_ALL_EVERY),
    )
    row = cursor.fetchone()
    return Mark(*row) if row else None


def _carry_changes(warehouse: Connection, shop: Shop, former: Mark | None) -> tuple[bool, frozenset[str]]:
    """Carry what changed since a mark, or everything.

    Returns whether it was everything, and if not, the tables that lost rows: their keys were carried as well.
    """
    if former:
        _carry(shop, {name: (values, _written_since(former)) for name, values in shop.values.items()})
        with warehouse.cursor() as cursor:
            counted = {table.name: _compare_counts(cursor, shop, table) for table in TABLES.values()}
            warehouse.commit()
            gone = frozenset(name for name, more in counted.items() if more > 0)
            if not any(more < 0 for more in counted.values()):
                _carry(
                    shop,
                    {
                        f"{name}{_KEYS}": ({key: shop.values[name][key] for key in TABLES[name].key}, _ALL)
                        for name in gone
                    },
                )
                _check_all_came(warehouse, shop, {f"{name}{_KEYS}" for name in gone})
                return False, gone
            log.warning("Raw lacks rows that the shop has had before, or keys are doubled; everything is compared")
            _clear(cursor)
            warehouse.commit()
    _carry(shop, {name: (values, _ALL) for name, values in shop.values.items()})
    _check_all_came(warehouse, shop, TABLES)
    return True, frozenset()


def _check_all_came(warehouse: Connection, shop: Shop, carried: Iterable[str]) -> None:
    """Raise LoadError where not every row of the shop's came: what did not would be taken for gone."""
    with warehouse.cursor() as cursor:
        for name in carried:
            wanted, found = _count_in_shop(shop, name.removesuffix(_KEYS)), Carried(name).count(cursor)
            if found != wanted:
                raise LoadError(
                    f"the shop was not loaded, and raw is as it was: of the {wanted:,} rows of {name} {found:,} came "
                    f"to {settings.incoming_schema()}. Load again; if it says so again, this is a fault of the load's"
                )
    warehouse.commit()


def _written_since(mark: Mark) -> sql.Composable:
    """That a row was written by a transaction that a mark did not see, as far as 32 bits tell.

    A row of more than two thousand million transactions ago may be taken for one: it is compared, and found the same.
    """
    return sql.SQL("mod(xmin::text::bigint - {} + 4294967296, 4294967296) < 2147483648").format(
        sql.Literal(mark.position % 2**32)
    )


def _compare_counts(cursor: Cursor, shop: Shop, table: Table) -> int:
    """How many rows more than the shop raw would have with what was carried; negative where it lacks some.

    Where both have as many, and no key is doubled, they have the same ones: raw has every row that was carried, and had
    the others before.
    """
    wanted = _count_in_shop(shop, table.name)
    carried = Carried(table.name)
    parts = {
        "raw": raw.named(table.name),
        "carried": carried.named,
        "key": sql.SQL(", ").join(map(sql.Identifier, table.key)),
    }
    new = sql.SQL("0")
    if carried.exists(cursor):
        doubled = sql.SQL("select exists (select from {carried} group by {key} having count(*) > 1)")
        cursor.execute(doubled.format(**parts))
        if cursor.fetchone()[0]:
            return -1
        new = sql.SQL("(select count(*) from (select {key} from {carried} except select {key} from {raw}) as new)")
    cursor.execute(sql.SQL("select count(*) + {} from {}").format(new.format(**parts), parts["raw"]))
    return cursor.fetchone()[0] - wanted


def _count_in_shop(shop: Shop, name: str) -> int:
    shop.cursor.execute(sql.SQL("select count(*) from {}").format(shop.tables[name]))
    return shop.cursor.fetchone()[0]


def _carry(shop: Shop, selections: dict[str, tuple[dict[str, sql.Composable], sql.Composable]]) -> None:
    """Let dlt carry rows to tables of these names: which columns, as text, and under which condition."""
    if not selections:
        return
    # Nobody else's business, and nothing that Airflow's variables would know.
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["PROVIDERS__ENABLE_AIRFLOW_SECRETS"] = "false"
    import dlt
    from dlt.pipeline.exceptions import PipelineStepFailed
    from dlt.sources.sql_database import sql_table

    engine = create_engine("postgresql+psycopg2://", creator=lambda: _connect_to_shop(shop.url))

    @event.listens_for(engine, "begin")
    def _in_the_snapshot(connection: ShopConnection) -> None:
        with connection.connection.cursor() as cursor:  # not by SQLAlchemy, which would declare a cursor for it
            cursor.execute("set transaction snapshot %s", (shop.snapshot,))

    resources = []
    for name, (values, condition) in selections.items():
        table = name.removesuffix(_KEYS)
        statement = sql.SQL("select {} from {} where {}").format(
            sql.SQL(", ").join(
                sql.SQL("cast({} as text) as {}").format(value, sql.Identifier(column))
                for column, value in values.items()
            ),
            shop.tables[table],
            condition,
        )
        resources.append(
            sql_table(
                credentials=engine,
                table=name,
                metadata=_described(name, values),
                query_adapter_callback=_always(statement.as_string(shop.cursor)),
            )
        )
    with tempfile.TemporaryDirectory(prefix="greenery-dlt-") as folder:
        where = settings.warehouse_loader()
        to = URL.create(
            "postgresql", where.user, where.password or "none", where.host, where.port, where.database
        ).render_as_string(hide_password=False)
        pipeline = dlt.pipeline(
            "greenery_live",
            pipelines_dir=folder,
            destination=dlt.destinations.postgres(credentials=to),
            dataset_name=settings.incoming_schema(),
        )
        try:
            pipeline.run(resources)
        except PipelineStepFailed as error:
            raise LoadError(f"the shop was not loaded, and raw is as it was: {error.exception}") from None
        finally:
            engine.dispose()


def _described(name: str, columns: Iterable[str]) -> MetaData:
    """A table of text columns: Postgres, which writes them as text, reads them again as what they are."""
    metadata = MetaData()
    ShopTable(name, metadata, *(Column(column, Text) for column in columns))
    return metadata


def _always(statement: str) -> Callable[..., object]:
    query = text(statement.replace(":", r"\:"))
    return lambda *_: query


@dataclass(frozen=True)
class Carried:
    """Rows that dlt has carried beside raw, as `load` takes rows: to be copied into a table, once."""

    name: str

    @property
    def named(self) -> sql.Identifier:
        """Where they are."""
        return sql.Identifier(settings.incoming_schema(), self.name)

    def exists(self, cursor: Cursor) -> bool:
        """Whether there are any: dlt makes no table for none."""
        cursor.execute("select to_regclass(%s) is not null", (f"{settings.incoming_schema()}.{self.name}",))
        return cursor.fetchone()[0]

    def count(self, cursor: Cursor) -> int:
        """How many there are."""
        if not self.exists(cursor):
            return 0
        cursor.execute(sql.SQL("select count(*) from {}").format(self.named))
        return cursor.fetchone()[0]

    def copy(self, cursor: Cursor, into: sql.Composable, columns: Collection[str]) -> None:
        """Copy them into a table of the contract's types."""
        if self.exists(cursor):
            types = TABLES[self.name.removesuffix(_KEYS)].columns
            cursor.execute(
                sql.SQL("insert into {} ({}) select {} from {}").format(
                    into,
                    sql.SQL(", ").join(map(sql.Identifier, columns)),
                    sql.SQL(", ").join(
                        sql.SQL("cast({} as {})").format(sql.Identifier(name), sql.SQL(types[name])) for name in columns
                    ),
                    self.named,
                )
            )


def _write(cursor: Cursor, everything: bool, keys: Iterable[str], drift: list[tuple[str, str, str]]) -> LoadReport:
    rows = {name: Carried(name) for name in TABLES}
    notes = tuple(f"{table}: the shop's column {column} is {now}" for table, column, now in drift)
    if everything:
        return load.replace(cursor, rows, ORIGIN, notes)
    return load.upsert(cursor, rows, ORIGIN, notes, keys={name: Carried(f"{name}{_KEYS}") for name in keys})


def _drift(cursor: Cursor, now: Mark) -> list[tuple[str, str, str]]:
    """What is otherwise with the shop's columns than at the last load: table, column, and what it is now."""
    if not raw.exists(cursor, "shop_mark"):
        return []
    cursor.execute(sql.SQL("select columns from {}").format(raw.named("shop_mark")))
    row = cursor.fetchone()
    found = []
    for table, columns in now.columns.items() if row else ():
        before = row[0].get(table, columns)
        found += [(table, column, f"new, {kind}") for column, kind in columns.items() if column not in before]
        found += [(table, column, "gone") for column in before if column not in columns]
        found += [
            (table, column, f"{kind}, no longer {before[column]}")
            for column, kind in columns.items()
            if before.get(column, kind) != kind
        ]
    return found


def _remember(cursor: Cursor, mark: Mark, drift: list[tuple[str, str, str]], *, compared: bool) -> None:
    """Keep the mark and the drift, in the transaction that writes raw."""
    place = raw.named("shop_mark")
    cursor.execute(_MARK.format(place))
    cursor.execute(_DRIFT.format(raw.named("shop_drift")))
    cursor.execute(
        sql.SQL(
            "with former as (delete from {0} returning compared_at) insert into {0}"
            " select %s, %s, %s, case when %s then clock_timestamp() else (select compared_at from former) end"
        ).format(place),
        (mark.source, mark.position, json.dumps(mark.columns), compared),
    )
    for table, column, now in drift:
        cursor.execute(
            sql.SQL("insert into {} values (%s, %s, %s, clock_timestamp())").format(raw.named("shop_drift")),
            (table, column, now),
        )


def main() -> int:
    """Load the shop once, now; 0 where raw is a replica of it."""
    parser = argparse.ArgumentParser(prog="python -m include.raw.live", description=main.__doc__)
    parser.add_argument("--everything", action="store_true", help="compare all rows, not only those that changed")
    try:
        print(load_shop(everything=parser.parse_args().everything).summary())
    except LoadError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
