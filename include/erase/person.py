"""What is known of a person anywhere: rows, addresses, and the values by which a text can be about them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from include.erase.places import Place, holds

NAMES = ("first_name", "last_name")
# Values that one person has, wherever a column is called so.
TELLING = ("email", "phone_number", "tracking_id", "address", "shipping_address")
# A shorter value is in texts that are about something else.
_TELLING_FROM = 6
# One word of letters alone may be anything's: a product, a state, a table.
_A_WORD = re.compile(r"[^\W\d]+")


@dataclass
class Person:
    """A user: `rows` counts what holds the id by place, `values` has what stands in these rows by column."""

    user_id: str
    rows: dict[Place, int] = field(default_factory=dict)
    address_ids: set[str] = field(default_factory=set)
    values: dict[str, set[str]] = field(default_factory=dict)

    def names(self) -> list[tuple[str, ...]]:
        """First and last names, as pairs."""
        first, last = (sorted(self.values.get(name, ())) for name in NAMES)
        return [(one, other) for one in first for other in last]

    def telling(self) -> set[str]:
        """Values by which a text is about this person and about nobody else."""
        found = {value for column in TELLING for value in self.values.get(column, ()) if not _A_WORD.fullmatch(value)}
        if not self.user_id.isdecimal():  # a number may be anything's
            found.add(self.user_id)
        return {value for value in found if len(value) >= _TELLING_FROM}

    def everything(self) -> set[str]:
        """All values, telling or not: for samples of rows, of which none too few must go."""
        return {self.user_id, *(value for column in (*NAMES, *TELLING) for value in self.values.get(column, ()))}


def find(cursor: Cursor, user_id: str, places: list[Place]) -> Person:
    """Look a person up in all places that hold keys of users; the address in the table of addresses, too."""
    person = Person(user_id)
    for place in (place for place in places if place.users):
        wanted = [name for name in place.values if name in (*NAMES, *TELLING)]
        columns = sql.SQL(", ").join(
            sql.SQL("array_agg(distinct {}::text)").format(sql.Identifier(name)) for name in (*place.addresses, *wanted)
        )
        cursor.execute(
            sql.SQL("select count(*) {} {} from {} where {}").format(
                sql.SQL("," if place.addresses or wanted else ""), columns, place.named, holds(place.users, "key")
            ),
            {"key": f"/{user_id}/"},
        )
        count, *found = cursor.fetchone()
        if count:
            person.rows[place] = count
            for name, values in zip((*place.addresses, *wanted), found, strict=True):
                known = person.address_ids if name in place.addresses else person.values.setdefault(name, set())
                known |= {value for value in values or () if value}
    return person
