"""What a hostile night may do to a column of a raw table, or to all of it: each case is played again by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from include.raw.contract import TABLES
from tests.dbt.edits import Row, Tables

# What becomes of a value; the random one is of the case.
Change = Callable[[str | None, Random], str | None]
WHOLE = "*"


@dataclass(frozen=True)
class Case:
    """A fault of a kind in a column, at rows that the seed chooses; of a whole table where the column is `*`."""

    table: str
    column: str
    kind: str
    seed: int = 1

    def __str__(self) -> str:
        return f"{self.table}.{self.column}.{self.kind}.{self.seed}"

    @classmethod
    def named(cls, name: str) -> Case:
        """The case of a name, as a test prints it."""
        table, column, kind, seed = name.split(".")
        return cls(table, column, kind, int(seed))

    def spoil(self, tables: Tables) -> None:
        """Do it. Nothing else in the tables changes."""
        random, rows = Random(str(self)), tables[self.table]  # noqa: S311 - no secret hangs on it
        if self.column == WHOLE:
            _OF_TABLES[self.kind](rows, self.table, random)
        elif self.kind.startswith("swapped with "):
            other = self.kind.removeprefix("swapped with ")
            for row in rows:
                row[self.column], row[other] = row[other], row[self.column]
        elif self.kind.startswith("all "):
            for row in rows:
                row[self.column] = self._change(row[self.column], random)
        else:
            row = random.choice([row for row in rows if row[self.column] is not None] or rows)
            row[self.column] = self._change(row[self.column], random)

    def _change(self, value: str | None, random: Random) -> str | None:
        kinds = _BY_TYPE[TABLES[self.table].columns[self.column]]
        return (_OF_ANY | kinds)[self.kind.removeprefix("all ")](value, random)


def cases(seed: int = 1) -> Iterator[Case]:
    """Each kind at each column, and at each table."""
    for table in TABLES.values():
        for column, of in table.columns.items():
            kinds = [
                *_OF_ANY,
                *_BY_TYPE[of],
                *(f"all {kind}" for kind in _OF_ALL_ROWS if kind in _OF_ANY | _BY_TYPE[of]),
            ]
            alike = [other for other, its in table.columns.items() if its == of and other > column]
            kinds += [f"swapped with {other}" for other in alike]
            yield from (Case(table.name, column, kind, seed) for kind in kinds)
        of_whole = [kind for kind in _OF_TABLES if kind != "a thousandfold" or len(table.key) == 1]
        yield from (Case(table.name, WHOLE, kind, seed) for kind in of_whole)


def _to(value: str | None) -> Change:
    return lambda _value, _random: value


def _number(change: Callable[[Decimal], Decimal]) -> Change:
    return lambda value, _random: None if value is None else str(change(Decimal(value)))


def _moment(change: Callable[[datetime], datetime]) -> Change:
    return lambda value, _random: None if value is None else change(datetime.fromisoformat(value)).isoformat()


def _text(change: Callable[[str], str]) -> Change:
    return lambda value, _random: None if value is None else change(value)


def _letters(count: int) -> Change:
    """That no compression makes shorter, so that an index can't hold many of them."""
    return lambda _value, random: "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=count))


_OF_ANY: dict[str, Change] = {"null": _to(None)}

_TEXT: dict[str, Change] = {
    "empty": _to(""),
    "blank": _to(" \t\u00a0"),
    "long": _letters(2_000),
    "too long for an index": _letters(9_000),
    "a megabyte": _to("x" * 1_000_000),
    "nobody": _to("nobody"),
    "control characters": _text(lambda text: f"{text}\x01\x1b[31m\r\n\x7f"),
    "right to left": _text(lambda text: f"\u202e{text}\u2066\u200b\ufeff"),
    "combining": _text(lambda text: text + "\u0301" * 50 + "👩‍👩‍👧‍👦𝒳"),
    "no-break space": _text(lambda text: text + "\u00a0"),
    "upper case": _text(str.upper),
    "slack": _to("<!channel> & *ada* `x` <https://example.com|here>"),
    "sql": _to("'; drop schema raw cascade; -- {{ 1 / 0 }} %s %(x)s \\N"),
    "slash": _text(lambda text: f"{text}/{text}"),
    "NaN": _to("NaN"),
    "one for all": _to("the same"),
}
_NUMERIC: dict[str, Change] = {
    "NaN": _to("NaN"),
    "infinite": _to("Infinity"),
    "minus infinite": _to("-Infinity"),
    "negative": _number(lambda number: -number - 1),
    "nothing": _to("0"),
    "a fraction of a cent": _number(lambda number: number + Decimal("0.001")),
    "times a hundred": _number(lambda number: number * 100),
    "a trillion": _to("1000000000000"),
    "the most that fits": _to("99999999999999.99"),
    "more than fits": _to("1e14"),
    "enormous": _to("1e300"),
}
_INTEGER: dict[str, Change] = {
    "negative": _number(lambda number: -number - 1),
    "nothing": _to("0"),
    "the greatest": _to("2147483647"),
    "the least": _to("-2147483648"),
    "times a hundred": _number(lambda number: number * 100),
}
_TIMESTAMP: dict[str, Change] = {
    "infinite": _to("infinity"),
    "minus infinite": _to("-infinity"),
    "1900": _to("1900-01-01 00:00:00+00"),
    "1970": _to("1970-01-01 00:00:00+00"),
    "9999": _to("9999-12-31 23:59:59+00"),
    "12021": _to("12021-01-01 00:00:00+00"),
    "before Christ": _to("0044-03-15 00:00:00+00 BC"),
    "a year later": _moment(lambda moment: moment + timedelta(days=365)),
    "a year earlier": _moment(lambda moment: moment - timedelta(days=365)),
    "in a week": _to((datetime.now(UTC) + timedelta(days=7)).isoformat()),
    "local time": _moment(lambda moment: moment - timedelta(hours=8)),
    "a day only": _moment(lambda moment: moment.replace(hour=0, minute=0, second=0, microsecond=0)),
}
_BY_TYPE = {"text": _TEXT, "numeric": _NUMERIC, "integer": _INTEGER, "timestamptz": _TIMESTAMP}
# What may become of a whole column at once: it has lost its meaning, or got another one.
_OF_ALL_ROWS = (
    "null",
    "empty",
    "one for all",
    "upper case",
    "no-break space",
    "nothing",
    "times a hundred",
    "a year later",
    "a year earlier",
    "local time",
    "a day only",
)


def _emptied(rows: list[Row], _table: str, _random: Random) -> None:
    rows.clear()


def _one_row_left(rows: list[Row], _table: str, random: Random) -> None:
    rows[:] = [random.choice(rows)]


def _a_row_goes(rows: list[Row], _table: str, random: Random) -> None:
    rows.remove(random.choice(rows))


def _half_goes(rows: list[Row], _table: str, random: Random) -> None:
    rows[:] = random.sample(rows, len(rows) // 2)


def _doubled(rows: list[Row], _table: str, _random: Random) -> None:
    rows += [dict(row) for row in rows]


def _a_doubled_key(rows: list[Row], table: str, random: Random) -> None:
    """With what another row says."""
    row, other = random.sample(rows, 2)
    rows.append(other | {column: row[column] for column in TABLES[table].key})


def _a_thousandfold(rows: list[Row], table: str, _random: Random) -> None:
    """Some rows under a thousand keys each; what is compared with them stays sound."""
    (key,) = TABLES[table].key
    rows += [row | {key: f"{row[key]}-{copy}"} for row in rows[:50] for copy in range(1000)]


_OF_TABLES: dict[str, Callable[[list[Row], str, Random], None]] = {
    "emptied": _emptied,
    "one row left": _one_row_left,
    "a row goes": _a_row_goes,
    "half goes": _half_goes,
    "doubled": _doubled,
    "a doubled key": _a_doubled_key,
    "a thousandfold": _a_thousandfold,
}
