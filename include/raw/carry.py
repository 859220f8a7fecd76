"""Carries rows from the shop's live database into temporary tables of the warehouse, with COPY on both sides."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include.raw import stand_ins
from include.raw.contract import TABLES
from include.raw.load import LoadError, Rows
from include.raw.shop_database import Shop

# The condition that all rows fulfil.
ALL = sql.SQL("true")


@dataclass(frozen=True)
class Carried:
    """Rows of the shop beside a raw table, as `load` takes rows: a temporary table with the contract's types."""

    table: str
    columns: tuple[str, ...]

    @property
    def named(self) -> sql.Identifier:
        """Where they are."""
        what = "keys" if self.columns == TABLES[self.table].key else "rows"
        return sql.Identifier("pg_temp", f"{self.table}_{what}")

    def copy(self, cursor: Cursor, into: sql.Composable, columns: Collection[str]) -> None:
        """Copy them into another table."""
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        cursor.execute(sql.SQL("insert into {} ({}) select {} from {}").format(into, names, names, self.named))


def carry(cursor: Cursor, shop: Shop, table: str, columns: Collection[str], condition: sql.Composable = ALL) -> Carried:
    """Carry the shop's rows of a raw table that fulfil a condition; they are there until the connection ends.

    Values travel as text, so that no number is rounded. Of what was carried before with the same columns nothing is
    left. Raises LoadError where not every row came: what did not would be taken for gone.
    """
    carried = Carried(table, tuple(columns))
    values = sql.SQL(", ").join(sql.SQL("cast({} as text)").format(shop.values[table][name]) for name in columns)
    types = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(TABLES[table].columns[name])) for name in columns
    )
    rows = Rows()
    rows.fetch(shop.cursor, sql.SQL("select {} from {} where {}").format(values, shop.tables[table], condition))
    cursor.execute(sql.SQL("drop table if exists {}").format(carried.named))
    cursor.execute(sql.SQL("create temporary table {} ({})").format(carried.named, types))
    cursor.execute("set local timezone to 'UTC'")  # which a timestamp without a zone means
    rows.copy(cursor, carried.named, columns)
    if cursor.rowcount != shop.cursor.rowcount:
        raise LoadError(
            f"the shop was not loaded, and raw is as it was: of {shop.cursor.rowcount:,} rows of {table} "
            f"{cursor.rowcount:,} came to the warehouse. Load again; if it says so again, this is a fault of the load's"
        )
    stand_ins.take_their_places(cursor, TABLES[table], carried.named, columns)
    return carried
