"""Carries rows of the shop's live database into a schema beside raw, with dlt."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from sqlalchemy import Column, MetaData, Text, create_engine, event, text
from sqlalchemy import Connection as ShopConnection
from sqlalchemy import Table as ShopTable
from sqlalchemy.engine import URL

from include import settings
from include.raw import shop_database
from include.raw.contract import TABLES
from include.raw.load import LoadError
from include.raw.shop_database import Shop

# How the keys of a table are called where they are carried, after the table; and all rows, as a condition.
KEYS = "_keys"
ALL = sql.SQL("true")


def carry(shop: Shop, selections: dict[str, tuple[dict[str, sql.Composable], sql.Composable]]) -> None:
    """Let dlt carry rows to tables of these names: which columns, as text, and under which condition."""
    if not selections:
        return
    # Nobody else's business, and nothing that Airflow's variables would know.
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["PROVIDERS__ENABLE_AIRFLOW_SECRETS"] = "false"
    import dlt
    from dlt.pipeline.exceptions import PipelineStepFailed
    from dlt.sources.sql_database import sql_table

    engine = create_engine("postgresql+psycopg2://", creator=lambda: shop_database.connect(shop.url))

    @event.listens_for(engine, "begin")
    def _in_the_snapshot(connection: ShopConnection) -> None:
        with connection.connection.cursor() as cursor:  # not by SQLAlchemy, which would declare a cursor for it
            cursor.execute("set transaction snapshot %s", (shop.snapshot,))

    resources = []
    for name, (values, condition) in selections.items():
        table = name.removesuffix(KEYS)
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


def clear(cursor: Cursor) -> None:
    """Drop what was carried, this time or by a load that was killed."""
    cursor.execute("select tablename from pg_tables where schemaname = %s", (settings.incoming_schema(),))
    for (name,) in cursor.fetchall():
        cursor.execute(sql.SQL("drop table {}").format(sql.Identifier(settings.incoming_schema(), name)))


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
            types = TABLES[self.name.removesuffix(KEYS)].columns
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


def _described(name: str, columns: Iterable[str]) -> MetaData:
    """A table of text columns: Postgres, which writes them as text, reads them again as what they are."""
    metadata = MetaData()
    ShopTable(name, metadata, *(Column(column, Text) for column in columns))
    return metadata


def _always(statement: str) -> Callable[..., object]:
    query = text(statement.replace(":", r"\:"))
    return lambda *_: query
