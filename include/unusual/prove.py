"""The proof: what the learned expectations would have caught in the shop's own past, and where they would have erred.

    python -m include.unusual.prove

replays the last 90 days in one snapshot of the warehouse. Each day is judged by the days before it, as the daily run
judges it: what is unusual on a day as it was is a false alarm. Then faults are planted (`faults.py`) in temporary
views that stand for the raw tables: the days are measured again through these, and judged again. Nothing is written but
the result, in `ops.proofs`; views and snapshot end with the session.

What a run observed when the day was new is taken as it was. Where a series has none of that, it is measured from the
rows as they are now, without the last days: their rows may still change. Faults reach what is measured of raw tables.
Metrics and models stay as they are, since nothing is built: in truth they would tell of some faults as well.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from itertools import dropwhile
from random import Random
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from include import raw, settings, words
from include.dbt_project import manifest, release
from include.dbt_project.manifest import Manifest
from include.fast_cosmos.releases import ProjectError
from include.unusual import observe, rows
from include.unusual.expect import LEAST_DAYS, LONGEST
from include.unusual.faults import Fault, planted
from include.unusual.find import judged
from include.unusual.rows import Known, Table
from include.unusual.series import Measure, Observation, Series, Unusual
from include.unusual.words import title, usual, value
from include.warehouse import connect

DAYS = 90
# The shop has to have learned for so long before the first day that is judged, and to have this many of these.
_LEARNED, _LEAST_DAYS = LEAST_DAYS + 7, 30
# Rows may change for so many days: as orders are shipped and delivered.
_SETTLED = 10
# These are 0 where there is nothing.
_NONE_AT_FIRST = frozenset({Measure.ROWS, Measure.HOURS, Measure.VALUE})
# So many of a day's rows may have come after it was observed; where it is more, they were changed.
_CAME_LATER = 0.05
# What is to be reached: caught of the faults of so large a share of the rows, and false alarms by days.
A_FIFTH, LEAST_CAUGHT, MOST_ALARMS, A_QUARTER = 0.2, 0.9, 1, 90
SEED = 1

Past = dict[Series, list[Observation]]


class ProofError(RuntimeError):
    """Nothing was proved; the message says why and what to do."""


@dataclass(frozen=True)
class Planted:
    """A fault, and what became of it: after how many days which series said it; None where none did."""

    fault: Fault
    days_until: int | None
    said: Series | None

    @property
    def is_large(self) -> bool:
        """Whether it is one of those of which nine in ten have to be caught."""
        return self.fault.share >= A_FIFTH


@dataclass(frozen=True)
class Proof:
    """What was replayed, and found out. `alarms`: by day what was said of it though nothing was planted."""

    first: date
    last: date
    series: int
    as_observed: int
    faults: tuple[Planted, ...]
    alarms: Mapping[date, tuple[Unusual, ...]]

    @property
    def days(self) -> int:
        """How many days were judged."""
        return (self.last - self.first).days + 1

    @property
    def large(self) -> tuple[Planted, ...]:
        """The faults of a fifth of the rows or more."""
        return tuple(one for one in self.faults if one.is_large)

    @property
    def is_enough(self) -> bool:
        """Whether what is to be reached is reached."""
        most = MOST_ALARMS * max(self.days / A_QUARTER, 1)
        enough = (
            caught(self.large) >= LEAST_CAUGHT * len(self.large) > 0
        )  # where nothing was planted, nothing is proved
        return enough and len(self.alarms) <= most

    def by_name(self) -> dict[str, list[Planted]]:
        """The faults of each kind, in the order in which they were planted."""
        kinds = defaultdict(list)
        for one in self.faults:
            kinds[one.fault.name].append(one)
        return kinds


def caught(faults: Sequence[Planted]) -> int:
    """How many of them were said."""
    return sum(one.days_until is not None for one in faults)


def prove(connection: Connection, facts: Manifest, *, marts: str = settings.LIVE, seed: int = SEED) -> Proof:
    """Replay the shop's past and plant faults in it; `seed` chooses the days and columns.

    In a transaction of its own that is rolled back. Raises ProofError where there is too little to learn from.
    """
    connection.set_session(isolation_level="REPEATABLE READ")
    try:
        with connection.cursor() as cursor:
            return _Replay(connection, cursor, facts, marts).proof(Random(seed))  # noqa: S311 - no secret hangs on it
    finally:
        connection.rollback()
        connection.set_session(isolation_level="DEFAULT")


class _Replay:
    def __init__(self, connection: Connection, cursor: Cursor, facts: Manifest, marts: str) -> None:
        self.cursor, self.facts, self.marts = cursor, facts, marts
        with self._letting_go():
            self.last = self._newest()
        seen = observe.history(connection, self.last, DAYS + LONGEST)
        as_observed = {series: days for series, days in seen.items() if _is_as_observed(days)}
        self.as_observed = len(as_observed)
        self.past = as_observed | self._measured_now(as_observed.keys())
        self.last = max((days[-1].day for days in self.past.values()), default=self.last)
        self.first = self._first()
        self.sound: dict[tuple[str, date], dict[Series, float | None]] = {}
        self.kept = {(series, one.day): one for series, days in self.past.items() for one in days}

    def _newest(self) -> date:
        """The newest day that a run observed, else the one before the last load."""
        self.cursor.execute("select max(day) from ops.observations")
        [[newest]] = self.cursor.fetchall()
        if newest is None and raw.exists(self.cursor, "loads"):
            self.cursor.execute(
                sql.SQL("select (max(loaded_at) at time zone 'UTC')::date - 1 from {}").format(raw.named("loads"))
            )
            [[newest]] = self.cursor.fetchall()
        if newest is None:
            raise ProofError("Nothing was observed or loaded so far: run greenery_daily, then try again.")
        return newest

    def _measured_now(self, without: Collection[Series]) -> Past:
        """What can be measured of the past from the rows as they are, but for some series and the last days."""
        days = (self.last - timedelta(DAYS + LONGEST - 1), self.last - timedelta(_SETTLED))
        seen = {one.unique_id for one in without if one.measure is Measure.ROWS}
        others = {unique_id: source for unique_id, source in self.facts.sources.items() if unique_id not in seen}
        found: Past = defaultdict(list)
        with self._letting_go():
            measured = [*observe.measured(self.cursor, replace(self.facts, sources=others), days, marts=self.marts)]
        for one in measured:
            if one.series not in without:
                found[one.series].append(replace(one, afterwards=True))
        grown = {series: _since_the_first(sorted(of, key=lambda one: one.day)) for series, of in found.items()}
        return {series: of for series, of in grown.items() if len(of) >= LEAST_DAYS}

    def _first(self) -> date:
        """The first day to be judged: 90 days back, if there was enough to learn from before it."""
        begun = min((days[0].day for days in self.past.values()), default=self.last)
        first = max(self.last - timedelta(DAYS - 1), begun + timedelta(_LEARNED))
        if (self.last - first).days + 1 < _LEAST_DAYS:
            raise ProofError(
                f"A proof takes {_LEARNED + _LEAST_DAYS} days, and there are {(self.last - begun).days + 1} so far, "
                f"since {begun}: run it again when there are more."
            )
        return first

    def proof(self, random: Random) -> Proof:
        """Judge each day as it was, then with each of the faults."""
        said: dict[date, tuple[Unusual, ...]] = {}
        for day in rows.each_day((self.first, self.last)):
            if found := judged(self.past, day, self.facts, _flat(said)):
                said[day] = found
        there = {series.unique_id for series in self.past}
        tables = [
            table
            for table in observe.tables(self.facts, settings.raw_schema())
            if table.dated_by and table.unique_id in there
        ]
        quiet = [day for day in rows.each_day((self.first, self.last - timedelta(_SETTLED))) if day not in said]
        with self._letting_go():
            faults = [*planted(self.cursor, tables, quiet, random, self._is_as_it_was)]
        return Proof(
            self.first,
            self.last,
            len(self.past),
            self.as_observed,
            tuple(self._planted(fault, said) for fault in faults),
            {day: told for day, found in said.items() if (told := _by_themselves(found))},
        )

    def _is_as_it_was(self, table: Table, column: str, day: date) -> bool:
        """Whether the column of the day's rows is still what it was when the day was observed."""
        if (table.unique_id, day) not in self.sound:
            measured = self._measured(table, (day, day))
            self.sound[table.unique_id, day] = {one.series: one.value for one in measured}
        series = Series(table.unique_id, Measure.NULLS, column)
        kept = self.kept.get((series, day))
        return kept is not None and _same(self.sound[table.unique_id, day].get(series), kept.value)

    def _planted(self, fault: Fault, said: Mapping[date, tuple[Unusual, ...]]) -> Planted:
        """What is said on the days of a fault that is not said without it."""
        past, faulty = dict(self.past), self._with(fault)
        for series, days in faulty.items():
            past[series] = [days.get(one.day, one) for one in self.past[series]]
        told = [one for one in _flat(said) if one.day < fault.first]
        for nth in range(fault.days):
            day = fault.first + timedelta(nth)
            found = judged(past, day, self.facts, told, only=faulty)
            without = {one.series for one in said.get(day, ())}
            new = [one for one in found if one.series not in without]
            if new:
                return Planted(fault, nth, (_by_themselves(new) or new)[0].series)
            told += found
        return Planted(fault, None, None)

    def _with(self, fault: Fault) -> dict[Series, dict[date, Observation]]:
        """What the table is like with a fault, on its days: the series that tell of the rows what they told then.

        A series whose rows have changed since its days were observed takes no part.
        """
        days = (fault.first, fault.first + timedelta(fault.days - 1))
        sound = {(one.series, one.day): one.value for one in self._measured(fault.table, days)}
        self.cursor.execute("savepoint fault")
        self.cursor.execute(
            sql.SQL("create temporary view {} as {}").format(sql.Identifier(fault.table.name), fault.rows)
        )
        self.cursor.execute("select nspname from pg_namespace where oid = pg_my_temp_schema()")
        [[schema]] = self.cursor.fetchall()
        faulty = self._measured(replace(fault.table, schema=schema), days)
        self.cursor.execute("rollback to savepoint fault")
        found: dict[Series, dict[date, Observation]] = defaultdict(dict)
        for one in faulty:
            kept = self.kept.get((one.series, one.day))
            if kept and _same(sound.get((one.series, one.day)), kept.value):
                value = one.value
                if one.series.measure is Measure.ROWS and value and kept.value:
                    value *= kept.value / (sound[one.series, one.day] or value)
                found[one.series][one.day] = replace(one, value=value, afterwards=kept.afterwards)
        return found

    def _measured(self, table: Table, days: tuple[date, date]) -> list[Observation]:
        known: Known = defaultdict(set)
        for series, before in self.past.items():
            if (series.unique_id, series.measure) == (table.unique_id, Measure.SHARE) and any(
                one.value for one in before if one.day < days[0]
            ):
                known[series.column].add(series.item)
        with self._letting_go():
            return [*rows.by_day(self.cursor, table, days, known)]

    @contextmanager
    def _letting_go(self) -> Iterator[None]:
        """Keep no lock on what is read: a proof takes minutes, and a publish or a load can't wait for it."""
        self.cursor.execute("savepoint reading")
        yield
        self.cursor.execute("rollback to savepoint reading; release savepoint reading")


def _is_as_observed(days: Sequence[Observation]) -> bool:
    return sum(not one.afterwards for one in days) >= _LEARNED + _LEAST_DAYS


def _since_the_first(days: Sequence[Observation]) -> list[Observation]:
    """Before a table's first row there was nothing to measure."""
    return [*dropwhile(lambda one: not one.value if one.series.measure in _NONE_AT_FIRST else one.value is None, days)]


def _same(measured: float | None, kept: float | None) -> bool:
    """Whether the rows tell of a day what was observed of it, but for the few that came later."""
    if measured is None or kept is None:
        return measured is kept
    return abs(measured - kept) <= _CAME_LATER * max(abs(measured), abs(kept))


def _flat(said: Mapping[date, Sequence[Unusual]]) -> list[Unusual]:
    return [one for found in said.values() for one in found]


def _by_themselves(found: Sequence[Unusual]) -> tuple[Unusual, ...]:
    """Those that no other explains."""
    return tuple(one for one in found if one.because is None)


def result(proof: Proof) -> dict[str, Any]:
    """The proof as it is kept in `ops.proofs`, as JSON."""
    return {
        "days": proof.days,
        "from": proof.first.isoformat(),
        "to": proof.last.isoformat(),
        "series": proof.series,
        "is_enough": proof.is_enough,
        "large": {"planted": len(proof.large), "caught": caught(proof.large)},
        "faults": [
            {
                "name": name,
                "what": sorted({one.fault.what for one in faults}),
                "planted": len(faults),
                "caught": caught(faults),
                "days_until": max((one.days_until for one in faults if one.days_until is not None), default=None),
            }
            for name, faults in proof.by_name().items()
        ],
        "false_alarms": [
            {"day": day.isoformat(), "series": asdict(one.series)} for day, said in proof.alarms.items() for one in said
        ],
    }


def keep(connection: Connection, proof: Proof) -> None:
    """Keep the result, for the page."""
    with connection.cursor() as cursor:
        cursor.execute("insert into ops.proofs (result) values (%s)", (Json(result(proof)),))


def told(proof: Proof, facts: Manifest) -> str:
    """The proof as text: what was replayed, what would have been caught by kind of fault, and the false alarms."""
    lines = [
        f"Replayed: {words.count(proof.days, 'day')}, {proof.first} to {proof.last}, {proof.series} series; "
        f"{proof.as_observed} of them as runs observed them, the others from the rows and metrics as they are now.",
        f"It would have caught {caught(proof.faults)} of {len(proof.faults)} faults; of those of a fifth of the rows "
        f"or more {caught(proof.large)} of {len(proof.large)}. "
        f"{words.count(len(proof.alarms), 'false alarm').capitalize()} in {words.count(proof.days, 'day')}.",
        "",
        f"{'caught':>9}  {'days until':>10}  fault, and which series said so",
    ]
    for name, faults in proof.by_name().items():
        until = [one.days_until for one in faults if one.days_until is not None]
        days = f"{min(until)} to {max(until)}" if until and max(until) else "0" if until else "never"
        lines.append(f"{caught(faults):>3} of {len(faults):>2}  {days:>10}  {name}")
        for one in sorted(faults, key=lambda one: (one.fault.what, one.fault.first)):
            said = title(one.said, facts) if one.said else "nothing"
            lines.append(
                f"{'':>23}  {one.fault.what}, {one.fault.first}, {words.percent(one.fault.share)} of the rows: {said}"
            )
    if proof.alarms:
        lines += ["", "False alarms:"]
    for day, said in proof.alarms.items():
        lines += [f"  {day}: {sentence(one, facts)}" for one in said]
    return "\n".join(lines)


def sentence(one: Unusual, facts: Manifest) -> str:
    """What is unusual, in a few words: "rows of raw.users 54, usually 109 to 215"."""
    told, usually = value(one.value, one.series, facts), usual(one.expected, one.series, facts)
    return f"{title(one.series, facts)} {told}, usually {usually}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prove it on the warehouse that the environment names, print what came of it, and keep it in `ops.proofs`."""
    parser = argparse.ArgumentParser(prog="python -m include.unusual.prove", description=main.__doc__)
    parser.add_argument("--seed", type=int, default=SEED, help="chooses days and columns; default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        facts = manifest.read(release.refresh().manifest)
        with connect("greenery proof") as connection:
            proof = prove(connection, facts, seed=options.seed)
            keep(connection, proof)
    except (ProofError, ProjectError) as error:
        print(error, file=sys.stderr)
        return 1
    print(told(proof, facts))
    return 0 if proof.is_enough else 1


if __name__ == "__main__":
    sys.exit(main())
