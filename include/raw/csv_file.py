"""Reading one CSV file strictly: every value is checked, and what is wrong is named by file, line and column.

Python's csv module can't tell an empty value from a quoted empty one, and that is the difference between null and the
empty string. So the file is taken apart here, as Postgres' COPY does it, with two things refused that COPY would guess
at: a quote in the middle of a value, and words such as "now" or "NaN" for a timestamp or a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from include.raw.contract import Table
from include.raw.load import NULL, Rows, line

BATCH = 2_000  # lines handed on at once
# A quote that is never closed would otherwise swallow the rest of the file, however large.
LONGEST_RECORD = 10_000  # lines

_INTEGER = re.compile(r"[+-]?[0-9]{1,10}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)
# Postgres can index no text that is much longer, and the models index ids. No id of a shop comes near it.
LONGEST_ID = 1_000  # bytes
# What people save in place of commas, and of UTF-8 text, by how it begins.
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_UTF_16 = "the file is UTF-16; save it as UTF-8 (a spreadsheet calls it CSV UTF-8)"
_BEGINNINGS = (
    (re.compile(rb"\xff\xfe|\xfe\xff|[^\x00]\x00[^\x00]\x00|\x00[^\x00]\x00[^\x00]"), _UTF_16),
    (re.compile(rb"PK\x03\x04"), "the file is a workbook or another zip archive; export it as CSV in UTF-8"),
    (re.compile(rb"\x1f\x8b"), "the file is compressed by gzip; unpack it"),
)
_BLANKS = " \t\n\r\f\v"  # what Postgres skips around a value; it stumbles over a no-break space
_WIDEST_OFFSET = timedelta(hours=16)  # Postgres knows no wider one
_QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"')
_PLAIN = re.compile(r'[^",]*')


class CsvError(ValueError):
    """A file can't be loaded; the message says where it is wrong and what to do."""

    def __init__(self, file: str, problem: str, *, line: int | None = None, column: str | None = None) -> None:
        self.file, self.line, self.column, self.problem = file, line, column, problem
        place = [file, f"line {line}" if line else "", f"column {column}" if column else ""]
        super().__init__(f"{', '.join(filter(None, place))}: {problem}")


def read(path: Path, table: Table) -> tuple[Rows, tuple[str, ...]]:
    """A table's file as rows for COPY, and the names of the columns that the table doesn't have (they are left out).

    The file is read line by line: memory does not grow with it. Raises CsvError.
    """
    try:
        # Bytes that are no UTF-8 come through as lone surrogates, so that they can be refused by line and column.
        with (
            path.open("rb") as file,
            TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text,
        ):
            for beginning, problem in _BEGINNINGS:
                if beginning.match(file.peek(4)):
                    raise CsvError(path.name, problem)
            return _Reader(text, path.name, table).rows()
    except FileNotFoundError:
        raise CsvError(path.name, f"the file is missing; put it into {path.parent.name}/") from None
    except OSError as error:
        raise CsvError(
            path.name, f"the file can't be read ({error.strerror}); check what it is and who may read it"
        ) from error


class _Reader:
    """One pass over one file."""

    def __init__(self, file: TextIO, name: str, table: Table) -> None:
        self.file, self.name, self.table = file, name, table
        self.line = 0  # the last physical line that was read
        self.header: list[str] = []

    def rows(self) -> tuple[Rows, tuple[str, ...]]:
        records = self._records()
        header, names = self._header(records)
        self.header = [name.strip() if name else "" for name in names]
        places = self._places()
        width, checks = len(self.header), self._checks()
        as_they_are = places == list(range(width))
        rows, batch = Rows(), []
        for start, text in records:
            if text.endswith(header) and text.removeprefix("\ufeff") == header:
                problem = "the header comes again: two files were put together; take the line out"
                raise CsvError(self.name, problem, line=start)
            if '"' in text:
                values = self._quoted(text, start)
            else:
                values = text.split(",")
                if "" in values:
                    values = [value or None for value in values]
            if len(values) != width:
                raise self._wrong_width(values, start)
            if len(text) > LONGEST_ID // 4:  # a letter is four bytes at most
                self._refuse_long_ids(values, start)
            for place, check, kind in checks:
                value = values[place]
                if value is not None and not check(value):
                    raise self._wrong_value(value, kind, start, place)
            if not as_they_are:
                values = [values[place] for place in places]
            if "\\" in text or "\t" in text or '"' in text:
                batch.append(line(values))
            elif None in values:
                batch.append("\t".join([NULL if value is None else value for value in values]) + "\n")
            else:
                batch.append("\t".join(values) + "\n")
            if len(batch) == BATCH:
                rows.extend(batch)
                batch.clear()
        rows.extend(batch)
        return rows, tuple(name for name in self.header if name not in self.table.columns)

    def _records(self) -> Iterator[tuple[int, str]]:
        """Each record's text without its line end, and the number of its first line."""
        blank = 0
        for text in self._lines():
            start = self.line
            if text.count('"') % 2:
                parts = [text]
                for more in self._lines():
                    parts.append(more)
                    if more.count('"') % 2:
                        break
                    if len(parts) > LONGEST_RECORD:
                        raise self._unterminated("".join(parts), start)
                else:
                    raise self._unterminated("".join(parts), start)
                text = "".join(parts)
            text = text.removesuffix("\n").removesuffix("\r")
            if not text and self.header:
                blank = blank or start
                continue
            if blank:
                raise CsvError(self.name, "the line is empty, and others follow; take it out", line=blank)
            yield start, text

    def _lines(self) -> Iterator[str]:
        for text in self.file:
            self.line += 1
            if "\0" in text:
                column = self._column_at(text, text.index("\0"))
                problem = "there is a NUL byte, which Postgres can't keep; take it out"
                raise CsvError(self.name, problem, line=self.line, column=column)
            if not text.isascii():
                try:
                    text.encode()
                except UnicodeEncodeError as error:
                    column = self._column_at(text, error.start)
                    problem = f"byte 0x{ord(text[error.start]) - 0xDC00:02x} is no UTF-8; save the file as UTF-8"
                    raise CsvError(self.name, problem, line=self.line, column=column) from None
            yield text

    def _header(self, records: Iterator[tuple[int, str]]) -> tuple[str, list[str | None]]:
        """The header's line, and the names in it."""
        start, text = next(records, (1, ""))
        for delimiter, called in _DELIMITERS.items():
            if text.count(delimiter) > text.count(","):
                problem = f"the values are divided by {called}; save the file with commas between them"
                raise CsvError(self.name, problem, line=start)
        names = self._quoted(text, start) if text else []
        if not any(_plain(name or "") in self.table.columns for name in names):
            wanted = ",".join(self.table.columns)
            raise CsvError(self.name, f"there is no header; the first line must name the columns: {wanted}", line=start)
        return text, names

    def _places(self) -> list[int]:
        """Where in the file each of the table's columns stands."""
        for name in self.table.columns:
            if name not in self.header:
                for written in self.header:
                    if _plain(written) == name:
                        problem = f"the header writes it {written}; write {name}"
                        raise CsvError(self.name, problem, line=1, column=name)
                problem = f"the column is missing from the header ({', '.join(self.header)}); add it"
                raise CsvError(self.name, problem, line=1, column=name)
            if self.header.count(name) > 1:
                problem = "the header names the column twice; take one of the two out"
                raise CsvError(self.name, problem, line=1, column=name)
        return [self.header.index(name) for name in self.table.columns]

    def _checks(self) -> list[tuple[int, Callable[[str], bool], str]]:
        return [
            (self.header.index(name), *_CHECKS[kind]) for name, kind in self.table.columns.items() if kind in _CHECKS
        ]

    def _quoted(self, text: str, start: int) -> list[str | None]:
        """A record's values where some are quoted: "" in quotes is the empty string, nothing at all is null."""
        values: list[str | None] = []
        at = 0
        while True:
            found = _QUOTED.match(text, at) if text.startswith('"', at) else _PLAIN.match(text, at)
            if found is None:
                raise self._stray_quote(text, at, start, len(values))
            values.append(found[1].replace('""', '"') if found.re is _QUOTED else found[0] or None)
            at = found.end()
            if at == len(text):
                return values
            if text[at] != ",":
                raise self._stray_quote(text, at, start, len(values) - 1)
            at += 1

    def _stray_quote(self, text: str, at: int, start: int, place: int) -> CsvError:
        return CsvError(
            self.name,
            "a quote stands inside a value; put the whole value into quotes and double the quotes within",
            line=start + text.count("\n", 0, at),
            column=self._column(place),
        )

    def _unterminated(self, text: str, start: int) -> CsvError:
        """The quote that no other one closes, by where its value begins."""
        complete = 0
        at = 0
        while found := (_QUOTED if text.startswith('"', at) else _PLAIN).match(text, at):
            if text[found.end() : found.end() + 1] != ",":
                break
            complete, at = complete + 1, found.end() + 1
        return CsvError(
            self.name,
            "a quote opens here and is never closed; the file may be cut short: fetch it again, or close the quote",
            line=start + text.count("\n", 0, at),
            column=self._column(complete),
        )

    def _wrong_width(self, values: list[str | None], start: int) -> CsvError:
        have, want = len(values), len(self.header)
        ending = "the file may be cut short: fetch it again, or mend the line"
        if have > want:
            ending = "a value with a comma in it has to be in quotes"
        column = self._column(have) if have < want else f"after {self.header[-1]}"
        problem = f"the line has {have} value{'s' if have != 1 else ''}, the header {want} columns; {ending}"
        return CsvError(self.name, problem, line=start, column=column)

    def _wrong_value(self, value: str, kind: str, start: int, place: int) -> CsvError:
        shown = value if len(value) <= 60 else f"{value[:57]}..."
        problem = f'"{shown}" is no {kind}; correct it, or leave it empty for null'
        return CsvError(self.name, problem, line=start, column=self._column(place))

    def _refuse_long_ids(self, values: list[str | None], start: int) -> None:
        for place, name in enumerate(self.header):
            value = values[place]
            if value and name.endswith("_id") and (length := len(value.encode())) > LONGEST_ID:
                problem = (
                    f"an id of {length:,} bytes, and Postgres can index none so long; is a column missing before it?"
                )
                raise CsvError(self.name, problem, line=start, column=name)

    def _column_at(self, text: str, at: int) -> str | None:
        """The column that a character of a line is in, as far as the commas before it tell."""
        return self._column(len(re.findall(r',(?=(?:[^"]*"[^"]*")*[^"]*$)', text[:at]))) if self.header else None

    def _column(self, place: int) -> str:
        return self.header[place] if place < len(self.header) else f"number {place + 1}"


def _plain(name: str) -> str:
    """A column's name as the tables write it: "Order ID" is order_id."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def _is_integer(text: str) -> bool:
    text = text.strip(_BLANKS)
    return bool(_INTEGER.fullmatch(text)) and -(2**31) <= int(text) < 2**31


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text.strip(_BLANKS)))


def _is_timestamp(text: str) -> bool:
    text = text.strip(_BLANKS)
    if not _TIMESTAMP.fullmatch(text):
        return False
    try:
        offset = datetime.fromisoformat(text).utcoffset()
    except ValueError:
        return False
    return offset is None or abs(offset) < _WIDEST_OFFSET


_CHECKS: dict[str, tuple[Callable[[str], bool], str]] = {
    "integer": (_is_integer, "integer between -2147483648 and 2147483647"),
    "numeric": (_is_number, "number (such as 12.50)"),
    "timestamptz": (_is_timestamp, "timestamp (such as 2021-02-10T00:00:05Z)"),
}
