"""The rows behind a move: what the model that a metric is counted from holds otherwise than what is published."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from include.dbt_project.counted import Measure
from include.dbt_project.manifest import Manifest
from include.receipts.move import MovedRow, Part, Side, What
from include.settings import BUILT, LIVE
from include.warehouse import personal, transaction
from include.warehouse.session import limited

# More would be no correction but another history: nobody reads it row by row.
MOST = 50_000
MOST_COLUMNS = MOST_KEYS = 5


@dataclass(frozen=True)
class Change:
    """A row of a model that a measure counts otherwise now: what it counted for on which day, and counts for now.

    It has no day where it was on none, or is on none. `changed` names all columns that differ.
    """

    key: str
    former_day: date | None
    before: Decimal | None
    day: date | None
    after: Decimal | None
    changed: tuple[str, ...]


def changes(connection: Connection, measure: Measure, days: Collection[date], seconds: float) -> list[Change]:
    """What differs between the build schema and what is published, of rows that are on one of `days` in either.

    Raises psycopg2.Error where a model is not there, is otherwise, or takes longer than `seconds`, and ValueError where
    its rows can't be told apart or too many differ.
    """
    if seconds <= 0:
        raise ValueError("not compared, since no time was left for it")
    with transaction(connection) as cursor, limited(cursor, seconds):
        cursor.execute(
            sql.SQL(
                """
                with former as ({former} where cast({day} as date) = any(%(days)s)),

                now as ({now} where cast({day} as date) = any(%(days)s)),

                different as (
                    select coalesce(former.key, now.key) as key
                    from former
                    full join now on former.key = now.key
                    where (former.day, former.counts) is distinct from (now.day, now.counts)
                    limit %(most)s
                ),

                -- Wherever they are: one that is on another day is not gone.
                before as ({former} where {key} in (select key from different)),

                after as ({now} where {key} in (select key from different))

                select
                    cast(different.key as text),
                    before.day, before.counts, after.day, after.counts,
                    array(
                        select name
                        from jsonb_each(before.whole) as one (name, value)
                        inner join jsonb_each(after.whole) as other (name, value) using (name)
                        where one.value <> other.value
                        order by name
                    )
                from different
                left join before on before.key = different.key
                left join after on after.key = different.key
                order by different.key
                """
            ).format(
                former=_counted(LIVE, measure),
                now=_counted(BUILT, measure),
                day=project_sql(measure.day),
                key=project_sql(measure.key),
            ),
            {"days": sorted(days), "most": MOST + 1},
        )
        found = [Change(*row[:-1], tuple(row[-1])) for row in cursor.fetchall()]
    if len(found) > MOST:
        raise ValueError(f"not compared, since more than {MOST} rows differ")
    if len({one.key for one in found} - {None}) < len(found):
        raise ValueError("not compared, since a key is empty or there twice")
    return found


def behind(found: Iterable[Change], measure: Measure, side: Side, first: date, last: date) -> list[MovedRow]:
    """The rows that changed what a measure counts of the days from `first` to `last`, in the order of their keys."""
    rows = []
    for one in found:
        was, is_ = (day is not None and first <= day <= last for day in (one.former_day, one.day))
        before, after = one.before if was else None, one.after if is_ else None
        if (before or 0) == (after or 0):
            continue
        what, other_day = What.CORRECTED, None
        if not was:
            what, other_day = (What.MOVED_IN if one.former_day else What.LATE), one.former_day
        elif not is_:
            what, other_day = (What.MOVED_OUT if one.day else What.GONE), one.day
        rows.append(
            MovedRow(
                side,
                measure.unique_id,
                measure.key,
                one.key,
                what,
                before,
                after,
                () if what in (What.MOVED_IN, What.MOVED_OUT) else _telling(one.changed, measure),
                other_day,
            )
        )
    return rows


def parts(rows: Iterable[MovedRow], facts: Manifest) -> tuple[Part, ...]:
    """The rows of a move by side and by what became of them, what adds most to a side first."""
    kinds: dict[tuple[Side, What, bool], list[MovedRow]] = {}
    for row in rows:
        kinds.setdefault((row.side, row.what, bool(row.changed)), []).append(row)
    made = [
        Part(
            side,
            what,
            facts.title(of[0].unique_id),
            len(of),
            sum((row.amount for row in of), Decimal(0)),
            ()
            if personal.is_named(of[0].key_column, facts.personal_columns)
            else tuple(sorted(row.key for row in of)[:MOST_KEYS]),
            _mostly(of),
        )
        for (side, what, _), of in kinds.items()
    ]
    return tuple(sorted(made, key=lambda part: (part.side is Side.DENOMINATOR, -abs(part.amount), part.what)))


def _mostly(rows: Iterable[MovedRow]) -> tuple[str, ...]:
    counts = Counter(column for row in rows for column in row.changed)
    return tuple(column for column, _ in counts.most_common(MOST_COLUMNS))


def _telling(changed: Collection[str], measure: Measure) -> tuple[str, ...]:
    """Those that the measure reads first: others may be a consequence only."""
    read = set(re.findall(r"\w+", f"{measure.expr} {measure.day}"))
    return tuple(sorted(changed, key=lambda column: (column not in read, column))[:MOST_COLUMNS])


def _counted(schema: str, measure: Measure) -> sql.Composable:
    return sql.SQL(
        "select {key} as key, cast({day} as date) as day, cast({expr} as numeric) as counts,"
        ' to_jsonb("the row") as whole from {relation} as "the row"'
    ).format(
        key=project_sql(measure.key),
        day=project_sql(measure.day),
        expr=project_sql(measure.expr),
        relation=sql.Identifier(schema, measure.relation),
    )


def project_sql(expression: str) -> sql.SQL:
    """The project's own SQL, beside parameters of ours; in brackets, as it may be a sum or end in a comment."""
    return sql.SQL(f"({expression.replace('%', '%%')}\n)")
