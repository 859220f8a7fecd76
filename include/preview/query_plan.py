"""What a plan of Postgres' says of one statement of a day: what it reads, and what of its time grows with history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from include.warehouse.relation import Relation

# So many rows are read in milliseconds, and no model is slow for them.
FEW_ROWS = 10_000
# A day that reads more rows than this for each of its keys reads history.
ROWS_A_KEY = 10


@dataclass
class QueryPlan:
    """What is read off a plan that was carried out (EXPLAIN ANALYZE).

    `seconds` is what it took and `growing` how much of it is spent on rows that become more as history does. `whole`
    are relations that it reads from end to end, with the rows that it read. `lines` are its steps in Postgres' words.
    """

    seconds: float = 0.0
    growing: float = 0.0
    whole: dict[Relation, int] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def read(
    done: list[dict[str, Any]], looked_up: list[dict[str, Any]], rows: Mapping[Relation, float], keys: int
) -> QueryPlan:
    """Read a plan in EXPLAIN's verbose JSON; `rows` is how many each relation has, `keys` how many a day asks for.

    A relation counts as read from end to end where at least half of its rows were read, and more than a day is about:
    more than `FEW_ROWS`, and more than `ROWS_A_KEY` for each key. And where nothing else will do: on a short history
    Postgres rather reads what it could look up, as in the plan `looked_up`, and on a long one it looks it up.
    """
    told = QueryPlan(seconds=(done[0]["Planning Time"] + done[0]["Execution Time"]) / 1000)
    _Reader(told, rows, max(FEW_ROWS, ROWS_A_KEY * keys), whole(looked_up)).read(done[0]["Plan"])
    told.growing = min(told.growing, told.seconds)
    return told


def whole(explained: list[dict[str, Any]]) -> set[Relation]:
    """The relations that a plan reads from end to end: by none of their indexes, or by one without a condition."""
    return {of for node in _steps(explained[0]["Plan"]) if (of := _relation(node)) and not _has_a_condition(node)}


def relations(explained: list[dict[str, Any]]) -> set[Relation]:
    """The tables that a plan reads."""
    return {relation for node in _steps(explained[0]["Plan"]) if (relation := _relation(node))}


@dataclass
class _Reader:
    """Goes through the steps of a plan, what comes in before what comes out."""

    told: QueryPlan
    rows: Mapping[Relation, float]
    many: int
    unavoidable: set[Relation]
    # By what `with … as` calls it: what it takes, and whether it grows.
    _with: dict[str, tuple[float, bool]] = field(default_factory=dict)

    def read(self, node: dict[str, Any], depth: int = 0, workers: int = 1) -> bool:
        """Read a step and all below it; True where it hands on rows that become more as history does."""
        self.told.lines.append(_line(node, depth, workers))
        inner = workers * (node.get("Workers Launched", 0) + 1)
        grows, own = False, _seconds(node, workers)
        for one in node.get("Plans", []):
            more, seconds = self.read(one, depth + 1, inner), _seconds(one, inner)
            if (name := one.get("Subplan Name", "")).startswith("CTE "):
                self._with[name.removeprefix("CTE ")] = seconds, more
            else:
                grows, own = grows or more, own - seconds
        if name := node.get("CTE Name"):
            seconds, more = self._with.get(name, (0.0, False))
            self._with[name] = 0.0, more  # its first reader makes it
            grows, own = grows or more, own - seconds
        if (of := _relation(node)) in self.unavoidable:
            count = _read_rows(node)
            if count > self.many and count >= self.rows.get(of, 0) / 2:
                self.told.whole[of] = max(count, self.told.whole.get(of, 0))
                grows = True
        if grows:
            self.told.growing += max(own, 0.0)
        return grows and node["Actual Rows"] * node["Actual Loops"] > self.many


def _steps(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for one in node.get("Plans", []):
        yield from _steps(one)


def _relation(node: dict[str, Any]) -> Relation | None:
    return Relation(node["Schema"], node["Relation Name"]) if "Relation Name" in node else None


def _has_a_condition(node: dict[str, Any]) -> bool:
    return "Index Cond" in node or any(map(_has_a_condition, node.get("Plans", [])))


def _read_rows(node: dict[str, Any]) -> int:
    """How many rows a step read, those that it left out among them."""
    left_out = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return round((node["Actual Rows"] + left_out) * node["Actual Loops"])


def _seconds(node: dict[str, Any], workers: int) -> float:
    """A step with all below it, by the clock: workers do their loops side by side."""
    return node["Actual Total Time"] * node["Actual Loops"] / workers / 1000


def _line(node: dict[str, Any], depth: int, workers: int) -> str:
    of = f" on {node['Relation Name']}" if "Relation Name" in node else ""
    by = f" using {node['Index Name']}" if "Index Name" in node else ""
    rows = round(node["Actual Rows"] * node["Actual Loops"])
    return f"{'  ' * depth}{node['Node Type']}{by}{of}: {rows:,} rows, {_seconds(node, workers):.2f} s"
