"""A relation of the warehouse by its two names."""

from __future__ import annotations

from typing import NamedTuple

from psycopg2 import sql


class Relation(NamedTuple):
    """A table or view, whatever it is called."""

    schema: str
    name: str

    @property
    def sql(self) -> sql.Identifier:
        """It, as a statement names it."""
        return sql.Identifier(self.schema, self.name)
