"""A model's rows before and after a change of the project, compared by Postgres: only examples are fetched.

Rows are told apart by the model's key, and where a key occurs more than once, by their order as well. Without a key,
whole rows are counted. What a personal column holds is compared and never shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import chain, zip_longest
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include.preview.report import ColumnChange, ColumnDiff, Example, ModelChange, RowsDiff
from include.warehouse.relation import Relation

# So many examples of a model; of a row that is added or gone so many columns; and of a value so many letters.
_EXAMPLES, _SHOWN, _LETTERS = 5, 6, 80
# So many pairs of a gone and an added column are looked at, those first whose names are most alike.
_MOST_PAIRS = 100
_FLOATS = {"float4", "float8"}
_NUMBERS = {"int2", "int4", "int8", "numeric"} | _FLOATS
_TIMES = {"date", "timestamp", "timestamptz"}


@dataclass(frozen=True)
class _Column:
    """A column of a relation: its type as SQL writes it, and the name of what that is made of."""

    name: str
    type: str
    base: str
    is_comparable: bool


@dataclass(frozen=True)
class _Pair:
    """A column before and the same one after: by its name, or renamed."""

    before: _Column
    after: _Column

    @property
    def is_number(self) -> bool:
        return {self.before.base, self.after.base} <= _NUMBERS

    @property
    def is_float(self) -> bool:
        return self.is_number and not _FLOATS.isdisjoint((self.before.base, self.after.base))

    @property
    def cast(self) -> str:
        """What makes both sides comparable."""
        bases = {self.before.base, self.after.base}
        if self.is_float:
            return "::float8"
        if len(bases) == 1 and self.before.is_comparable:
            return ""
        if self.is_number:
            return "::numeric"
        return "::timestamp" if bases <= _TIMES else "::text"

    def of(self, *, before: bool) -> sql.Composed:
        """Its value on a side."""
        return sql.Identifier((self.before if before else self.after).name) + sql.SQL(self.cast)

    def differs(self, b: str, a: str) -> str:
        """The condition that two of its values differ; of floats, by a billionth at least."""
        distinct = f"{b} is distinct from {a}"
        if not self.is_float:
            return distinct
        return f"({distinct} and coalesce({_apart(b, a)} >= 1e-9 * greatest(1, abs({b}), abs({a})), true))"


def compare(connection: Connection, model: ModelChange, before: Relation, after: Relation) -> RowsDiff:
    """What of a model's rows and columns is otherwise in `after` than in `before`. Only reads.

    A relation that is missing has no rows and no columns, as that of a model which is new or gone.
    """
    with connection.cursor() as cursor:
        old, new = _columns(cursor, before), _columns(cursor, after)
        if not old or not new:
            rows = {side: _count(cursor, side) if columns else 0 for side, columns in ((before, old), (after, new))}
            return RowsDiff(
                model.name,
                model.key,
                before=rows[before],
                after=rows[after],
                added=rows[after],
                gone=rows[before],
                changed=0,
                added_columns=tuple(new),
                gone_columns=tuple(old),
            )
        return _Comparison(cursor, model, before, after, old, new).made()


class _Comparison:
    """Of two relations that are there. `key` is None where nothing tells rows apart on both sides."""

    def __init__(
        self,
        cursor: Cursor,
        model: ModelChange,
        before: Relation,
        after: Relation,
        old: dict[str, _Column],
        new: dict[str, _Column],
    ) -> None:
        self.cursor, self.model, self.before, self.after = cursor, model, before, after
        self.common = [_Pair(column, new[name]) for name, column in old.items() if name in new]
        self.gone = [column for name, column in old.items() if name not in new]
        self.added = [column for name, column in new.items() if name not in old]
        self.key = self._key(old, new)
        self.pairs = [pair for pair in self.common if pair not in (self.key or ())]

    def made(self) -> RowsDiff:
        """The comparison."""
        found = self._by_key(self.key) if self.key else self._by_whole_rows()
        return RowsDiff(
            name=self.model.name,
            key=tuple(pair.after.name for pair in self.key or ()),
            retyped=tuple(
                ColumnChange(pair.after.name, pair.before.type, pair.after.type)
                for pair in self.common
                if pair.before.type != pair.after.type
            ),
            **found,
        )

    def _key(self, old: dict[str, _Column], new: dict[str, _Column]) -> list[_Pair] | None:
        """The model's key on both sides; a column of it that one side lacks may stand there under another name."""
        key: list[_Pair] = []
        for name in self.model.key:
            if name in old and name in new:
                key.append(_Pair(old[name], new[name]))
                continue
            taken = {column for pair in key for column in (pair.before, pair.after)}
            shared = {
                pair: self._shared(pair)
                for pair in self._renameable()
                if name in (pair.before.name, pair.after.name) and taken.isdisjoint((pair.before, pair.after))
            }
            best = max(shared, key=lambda pair: shared[pair][0], default=None)
            if best is None or 2 * shared[best][0] < min(shared[best][1:]) or not shared[best][0]:
                return None
            key.append(best)
        return key or None

    def _renameable(self) -> list[_Pair]:
        """A gone and an added column of the same type, those first whose names are most alike."""
        pairs = [_Pair(old, new) for old in self.gone for new in self.added if old.type == new.type]
        pairs.sort(key=lambda pair: -SequenceMatcher(None, pair.before.name, pair.after.name).ratio())
        return pairs[:_MOST_PAIRS]

    def _shared(self, pair: _Pair) -> tuple[int, int, int]:
        """How many rows hold a value that stands on the other side as well, and how many hold one before and after."""
        [row] = self._rows(
            """
            select coalesce(sum(least(b, a)), 0)::bigint, coalesce(sum(b), 0)::bigint, coalesce(sum(a), 0)::bigint
            from (
                select value, sum(b) as b, sum(a) as a
                from (
                    select {of_before} as value, 1 as b, 0 as a from {before}
                    union all
                    select {of_after}, 0, 1 from {after}
                ) as both_sides
                where value is not null
                group by value
            ) as by_value
            """,
            of_before=pair.of(before=True),
            of_after=pair.of(before=False),
        )
        return row

    def _renamed(self, holds: dict[_Pair, bool]) -> dict[str, Any]:
        """What became of gone and added columns, where pairs that hold the same values are renamed."""
        renamed = [pair for pair in self.key or () if pair.before.name != pair.after.name]
        for pair, is_same in holds.items():
            taken = {column for one in renamed for column in (one.before, one.after)}
            if is_same and taken.isdisjoint((pair.before, pair.after)):
                renamed.append(pair)
        former, latter = {pair.before for pair in renamed}, {pair.after for pair in renamed}
        return {
            "renamed": tuple((pair.before.name, pair.after.name) for pair in renamed),
            "gone_columns": tuple(column.name for column in self.gone if column not in former),
            "added_columns": tuple(column.name for column in self.added if column not in latter),
        }

    def _by_whole_rows(self) -> dict[str, Any]:
        """Each row as often as it occurs."""
        before, after = _count(self.cursor, self.before), _count(self.cursor, self.after)
        holds = {pair: self._shared(pair) for pair in self._renameable()}
        found = {"before": before, "after": after, "changed": 0} | self._renamed(
            {pair: shared > 0 and shared == old == new for pair, (shared, old, new) in holds.items()}
        )
        if not self.pairs:
            return found | {"added": after, "gone": before}
        names = [f"c{nth}" for nth in range(len(self.pairs))]
        # A group holds equal values alone, so floats are rounded to what is told apart.
        sides = [
            sql.SQL(", ").join(
                sql.SQL("round({}::numeric, 9) as {}" if pair.is_float else "{} as {}").format(
                    pair.of(before=before), sql.SQL(name)
                )
                for pair, name in zip(self.pairs, names, strict=True)
            )
            for before in (True, False)
        ]
        shown = [nth for nth, pair in enumerate(self.pairs) if self._is_shown(pair)][:_SHOWN]
        values = sql.SQL(f"array[{', '.join(map(_text, (names[nth] for nth in shown)))}]::text[]")
        [(gone, added, of_gone, of_added)] = self._rows(
            """
            with differing as materialized (
                select {names}, sum(b) - sum(a) as fewer
                from (
                    select {of_before}, 1 as b, 0 as a from {before}
                    union all
                    select {of_after}, 0, 1 from {after}
                ) as both_sides
                group by {names}
                having sum(b) <> sum(a)
            )
            select
                (select coalesce(sum(fewer) filter (where fewer > 0), 0)::bigint from differing),
                (select coalesce(-sum(fewer) filter (where fewer < 0), 0)::bigint from differing),
                array(select {values} from differing where fewer > 0 order by {names} limit {most}),
                array(select {values} from differing where fewer < 0 order by {names} limit {most})
            """,
            names=sql.SQL(", ".join(names)),
            of_before=sides[0],
            of_after=sides[1],
            values=values,
        )
        columns = [self.pairs[nth].after.name for nth in shown]
        less, more = (
            [dict(zip(columns, map(_clean, row), strict=True)) for row in rows if columns]
            for rows in (of_gone, of_added)
        )
        rows = _in_turn([(row, None) for row in less], [(None, row) for row in more])
        return found | {
            "gone": gone,
            "added": added,
            "examples": tuple(Example(f"row {nth}", *row) for nth, row in enumerate(rows, start=1)),
        }

    def _by_key(self, key: Sequence[_Pair]) -> dict[str, Any]:
        """Each row of a key with that of the same key, and where there are several, with the one of the same place."""
        (before, of_before, nulls), (after, of_after, more_nulls) = (
            self._keys(key, is_before=one) for one in (True, False)
        )
        is_repeated = max(of_before, of_after) > 1
        joined = _Joined(key, self.pairs, is_repeated, [one or two for one, two in zip(nulls, more_nulls, strict=True)])
        found = {"before": before, "after": after} | self._renamed(self._hold_the_same(key, joined))
        shown = [nth for nth, pair in enumerate(self.pairs) if self._is_shown(pair)]
        [(added, gone, changed, repeated, columns, *examples)] = self._rows(
            """
            with before as ({side_before}), after as ({side_after}),

            differing as materialized (
                select {fields}
                from before as b
                full join after as a on {on}
                where b.here is null or a.here is null or {differs}
            )

            select
                count(*) filter (where not b_here), count(*) filter (where not a_here),
                count(*) filter (where b_here and a_here), {repeated}, array[{counts}]::bigint[],
                {changed_rows}, {gone_rows}, {added_rows}
            from differing
            """,
            side_before=joined.side(self.before, is_before=True),
            side_after=joined.side(self.after, is_before=False),
            fields=sql.SQL(joined.fields),
            on=sql.SQL(joined.on),
            differs=sql.SQL(_any(joined.differs)),
            repeated=sql.SQL("count(*) filter (where n = 2 and not b_here)" if is_repeated else "0"),
            counts=sql.SQL(", ".join(f"count(*) filter (where b_here and a_here and d{nth})" for nth in joined.nths)),
            changed_rows=sql.SQL(joined.examples(f"b_here and a_here and ({_any(f'd{nth}' for nth in shown)})", shown)),
            gone_rows=sql.SQL(joined.examples("not a_here", shown[:_SHOWN])),
            added_rows=sql.SQL(joined.examples("not b_here", shown[:_SHOWN])),
        )
        counted = [ColumnDiff(pair.after.name, rows) for pair, rows in zip(self.pairs, columns, strict=True) if rows]
        return found | {
            "added": added,
            "gone": gone,
            "changed": changed,
            "repeated": repeated,
            "columns": tuple(sorted(counted, key=lambda one: -one.rows)),
            "examples": self._examples(key, shown, *examples),
        }

    def _keys(self, key: Sequence[_Pair], *, is_before: bool) -> tuple[int, int, list[bool]]:
        """The rows of a side, how often a key occurs at most, and which columns of the key hold nulls."""
        [(rows, most, nulls)] = self._rows(
            """
            select coalesce(sum(rows), 0)::bigint, coalesce(max(rows), 0), array[{nulls}]
            from (select {columns}, count(*) as rows from {side} group by {nths}) as keys
            """,
            side=(self.before if is_before else self.after).sql,
            nulls=sql.SQL(", ".join(f"coalesce(bool_or(k{nth} is null), false)" for nth in range(len(key)))),
            columns=sql.SQL(", ").join(
                pair.of(before=is_before) + sql.SQL(f" as k{nth}") for nth, pair in enumerate(key)
            ),
            nths=sql.SQL(", ".join(str(nth + 1) for nth in range(len(key)))),
        )
        return rows, most, nulls

    def _hold_the_same(self, key: Sequence[_Pair], joined: _Joined) -> dict[_Pair, bool]:
        """Whether a gone and an added column hold the same in every row that both sides have, and not nothing alone."""
        pairs = [pair for pair in self._renameable() if pair not in key]
        if not pairs:
            return {}
        other = _Joined(key, pairs, joined.is_repeated, joined.nulls)
        same = ", ".join(
            f"bool_and(not {differs}) and count(b.c{nth}) > 0" for nth, differs in enumerate(other.differs)
        )
        [(holds,)] = self._rows(
            "with before as ({side_before}), after as ({side_after})"
            " select array[{same}] from before as b join after as a on {on}",
            side_before=other.side(self.before, is_before=True),
            side_after=other.side(self.after, is_before=False),
            same=sql.SQL(same),
            on=sql.SQL(other.on),
        )
        return {pair: bool(is_same) for pair, is_same in zip(pairs, holds, strict=True)}

    def _examples(
        self, key: Sequence[_Pair], shown: list[int], changed: list[Any], gone: list[Any], added: list[Any]
    ) -> tuple[Example, ...]:
        is_secret = not all(map(self._is_shown, key))
        told = []
        for nth, (keys, before, after, differs) in enumerate(_in_turn(changed, gone, added), start=1):
            named = f"row {nth}" if is_secret else "/".join("null" if one is None else str(_clean(one)) for one in keys)
            columns = [self.pairs[at].after.name for at in shown]
            sides = [
                None
                if values is None
                else {
                    column: _clean(value)
                    # A row of one side alone has fewer columns.
                    for column, value, is_told in zip(columns, values, differs, strict=False)
                    if is_told
                }
                for values in (before, after)
            ]
            told.append(Example(named, *sides))
        return tuple(told)

    def _is_shown(self, pair: _Pair) -> bool:
        return {pair.before.name, pair.after.name}.isdisjoint(self.model.personal)

    def _rows(self, query: str, **parts: sql.Composable) -> list[tuple[Any, ...]]:
        self.cursor.execute(
            sql.SQL(query).format(
                **{"before": self.before.sql, "after": self.after.sql, "most": sql.Literal(_EXAMPLES)} | parts
            )
        )
        return self.cursor.fetchall()


@dataclass(frozen=True)
class _Joined:
    """The SQL of both sides joined by key: `k0`, `k1`, … are the key's columns, `c0`, `c1`, … those compared."""

    key: Sequence[_Pair]
    pairs: Sequence[_Pair]
    is_repeated: bool
    nulls: Sequence[bool]

    @property
    def nths(self) -> range:
        return range(len(self.pairs))

    @property
    def keys(self) -> list[str]:
        return [f"k{nth}" for nth in range(len(self.key))]

    def side(self, relation: Relation, *, is_before: bool) -> sql.Composed:
        """The query of a side: key, columns, that it is here, and among several rows of a key the place."""
        keys = [pair.of(before=is_before) for pair in self.key]
        columns = [pair.of(before=is_before) for pair in self.pairs]
        fields = [one + sql.SQL(f" as k{nth}") for nth, one in enumerate(keys)]
        fields += [one + sql.SQL(f" as c{nth}") for nth, one in enumerate(columns)]
        if self.is_repeated:
            comma = sql.SQL(", ")
            fields.append(
                sql.SQL("row_number() over (partition by {} order by {}) as n").format(
                    comma.join(keys), comma.join([*columns, *keys])
                )
            )
        return sql.SQL("select true as here, {} from {}").format(sql.SQL(", ").join(fields), relation.sql)

    @property
    def on(self) -> str:
        """The condition of the join; each part is one that Postgres can hash."""
        parts = []
        for name, has_nulls in zip(self.keys, self.nulls, strict=True):
            if has_nulls:
                parts.append(f"coalesce(b.{name}::text, '') = coalesce(a.{name}::text, '')")
                parts.append(f"(b.{name} is null) = (a.{name} is null)")
            else:
                parts.append(f"b.{name} = a.{name}")
        return " and ".join([*parts, *(["b.n = a.n"] if self.is_repeated else [])])

    @property
    def differs(self) -> list[str]:
        return [pair.differs(f"b.c{nth}", f"a.c{nth}") for nth, pair in enumerate(self.pairs)]

    @property
    def fields(self) -> str:
        """What is kept of a row that differs."""
        apart = [_apart(f"b.c{nth}", f"a.c{nth}") for nth, pair in enumerate(self.pairs) if pair.is_number]
        return ", ".join(
            [
                "coalesce(b.here, false) as b_here, coalesce(a.here, false) as a_here",
                *(f"coalesce(b.{name}, a.{name}) as {name}" for name in self.keys),
                *(["coalesce(b.n, a.n) as n"] if self.is_repeated else []),
                f"greatest({', '.join(apart) or 'null'})::float8 as change",
                *(
                    f"b.c{nth} as b{nth}, a.c{nth} as a{nth}, {differs} as d{nth}"
                    for nth, differs in enumerate(self.differs)
                ),
            ]
        )

    def examples(self, condition: str, shown: Sequence[int]) -> str:
        """The most telling rows: key, values before and after, None for a side without the row, and what differs."""

        def values(side: str) -> str:
            listed = ", ".join(_text(f"{side}{nth}") for nth in shown)
            return f"case when {side}_here then array[{listed}]::text[] end"

        return f"""
            coalesce((
                select json_agg(json_build_array(keys, before, after, differs))
                from (
                    select
                        array[{", ".join(map(_text, self.keys))}] as keys, {values("b")} as before,
                        {values("a")} as after, array[{", ".join(f"d{nth}" for nth in shown)}]::boolean[] as differs
                    from differing
                    where {condition}
                    order by change desc nulls last, {", ".join(self.keys)}
                    limit {_EXAMPLES}
                ) as examples
            ), '[]')
        """  # noqa: S608 - names of our own


def _columns(cursor: Cursor, relation: Relation) -> dict[str, _Column]:
    """A relation's columns by name, in their order; none where there is no such relation."""
    cursor.execute(
        """
        select
            attname, format_type(atttypid, atttypmod), base.typname::text,
            base.typcategory in ('E', 'R')
            or exists (
                select
                from pg_operator
                where oprname = '=' and (oprcanhash or oprcanmerge) and oprleft = oprright
                    and oprleft = case base.typcategory when 'A' then base.typelem else base.oid end
            )
        from pg_class as relations
        join pg_namespace as spaces on spaces.oid = relnamespace and nspname = %s
        join pg_attribute on attrelid = relations.oid and attnum > 0 and not attisdropped
        join pg_type as types on types.oid = atttypid
        join pg_type as base on base.oid = coalesce(nullif(types.typbasetype, 0), types.oid)
        where relname = %s
        order by attnum
        """,
        relation,
    )
    return {column.name: column for column in (_Column(*row) for row in cursor.fetchall())}


def _count(cursor: Cursor, relation: Relation) -> int:
    cursor.execute(sql.SQL("select count(*) from {}").format(relation.sql))
    return cursor.fetchone()[0]


def _apart(b: str, a: str) -> str:
    """How far two numbers are apart; null where a float can't hold that."""
    held = " and ".join(f"{one} between -1e300 and 1e300" for one in (b, a))
    return f"case when {held} then abs({b}::float8 - {a}::float8) end"


def _text(column: str) -> str:
    """A value as text, with a letter more than is shown where it is longer."""
    return f"left({column}::text, {_LETTERS + 1})"


def _any(conditions: Iterable[str]) -> str:
    return " or ".join(conditions) or "false"


def _clean(value: str | None) -> str | None:
    """A value as it is shown: cut, and without what no page and no terminal prints."""
    if value is None:
        return None
    printed = "".join(letter if letter.isprintable() else " " for letter in value)
    return printed if len(printed) <= _LETTERS else printed[: _LETTERS - 1] + "…"


def _in_turn(*kinds: list[Any]) -> list[Any]:
    """The first ones of each kind, as many as are shown."""
    return [one for one in chain.from_iterable(zip_longest(*kinds)) if one is not None][:_EXAMPLES]
