"""What a change of the project touches, by the manifests of its two states; nothing is built or asked for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from include.dbt_project import metrics, release
from include.dbt_project.helpers import is_helper
from include.dbt_project.manifest import Manifest
from include.preview import code
from include.preview.report import ColumnChange, Exposure, Kind, ModelChange, Plan
from include.preview.version import Version
from include.results import failures

_RELATIONS = ("model", "seed", "snapshot")
# Configuration that changes neither rows nor tables; what is in `meta` matters where a macro asks for it.
_BESIDE = frozenset({"access", "description", "docs", "enabled", "group", "meta", "static_analysis", "tags"})
_ASKED_VARIABLE = re.compile(r"""\bvar\(\s*(?:['"](\w+)['"])?""")
# A release's own, over all macros: what changed of them is told by their names.
_MACROS_HASH = "macros_hash"
_LONGEST_VALUE = 40


@dataclass(frozen=True)
class _State:
    """A state of the project, by what is asked of it."""

    version: Version

    @property
    def facts(self) -> Manifest:
        return self.version.facts

    @cached_property
    def nodes(self) -> dict[str, dict[str, Any]]:
        """Models, seeds and snapshots by their unique ids."""
        return {one: node for one, node in self.facts.nodes.items() if node["resource_type"] in _RELATIONS}

    @cached_property
    def macros(self) -> dict[str, dict[str, Any]]:
        """The macros by their unique ids."""
        return {one: macro for one, macro in self.version.whole["macros"].items() if macro["name"] != _MACROS_HASH}

    @cached_property
    def _macros_by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for unique_id, macro in self.macros.items():
            found.setdefault(macro["name"], []).append(unique_id)
        return found

    @cached_property
    def adapter(self) -> str:
        return self.version.whole["metadata"]["adapter_type"]

    @cached_property
    def asked_of_meta(self) -> str:
        """The texts of macros in which `meta` is read."""
        return "\n".join(macro["macro_sql"] for macro in self.macros.values() if "meta" in macro["macro_sql"])

    @cached_property
    def variables(self) -> dict[str, Any]:
        """Those of dbt_project.yml or vars.yml, of which dbt takes one; of a package, by the package's name."""
        said, apart = (
            yaml.safe_load(file.read_text()) or {} if file.exists() else {}
            for file in (self.version.release.path / name for name in release.VARIABLES)
        )
        given = dict(said.get("vars") or apart.get("vars") or {})
        own = given.pop(said.get("name"), None)
        return given | own if isinstance(own, dict) else given

    def used(self, node: Mapping[str, Any]) -> set[str]:
        """The unique ids of all macros that build a node: those that it calls, and what dbt calls for it."""
        config = node["config"]
        kind = config["materialized"]
        called = [f"materialization_{kind}_{self.adapter}", f"materialization_{kind}_default"]
        if kind == "incremental":
            called.append(f"get_incremental_{config.get('incremental_strategy') or 'default'}_sql")
        left = [*node["depends_on"].get("macros", ()), *(one for name in called for one in self._named(name))]
        found: set[str] = set()
        while left:
            if (one := left.pop()) in found or one not in self.macros:
                continue
            found.add(one)
            # One of the project's takes the place of dbt's of the same name.
            left += [*self.macros[one]["depends_on"]["macros"], *self._named(self.macros[one]["name"])]
        return found

    def _named(self, name: str) -> list[str]:
        names = (name, f"{self.adapter}__{name}", f"default__{name}")
        return [one for each in names for one in self._macros_by_name.get(each, ())]

    def takes_part(self, node: Mapping[str, Any]) -> bool:
        """Whether a model goes on from what was built before (`decide_whether_rebuilt` in buffers.sql)."""
        config = node["config"]
        kept = config.get("full_refresh") is False or config.get("incremental_strategy") == "microbatch"
        takes_changes = (config.get("meta") or {}).get("follows")
        in_target = not config.get("schema")
        return (
            config["materialized"] == "incremental"
            and config.get("full_refresh") is not True
            and bool(takes_changes or (in_target and not kept))
        )

    def continued_by(self, unique_id: str) -> dict[str, Any]:
        """What has to be the same for a table to be continued: as `model_checksum` in buffers.sql has it."""
        found: dict[str, Any] = {}
        for one in (unique_id, *sorted(self.facts.upstream(unique_id))):
            if node := self.nodes.get(one):
                columns = [(column["name"], column.get("data_type")) for column in node["columns"].values()]
                found[one] = (node["checksum"]["checksum"], node.get("alias"), node["config"], columns)
            elif source := self.facts.sources.get(one):
                found[one] = source["relation_name"]
        return found


def compare(old: Version, new: Version) -> Plan:
    """What the new state touches of the old one; both are parsed for schemas of the same kind.

    A model whose description, tags, owner or tests alone are otherwise is of kind `comments`, and its reasons say what
    is; so is one whose code is the same and that the next run still builds in full, because a file that it reads, a
    macro or a variable is not. One whose relation is called otherwise, is in another schema or is none any more is gone
    and new.
    """
    return _Comparison(_State(old), _State(new)).plan()


class _Comparison:
    """What two states differ in."""

    def __init__(self, old: _State, new: _State) -> None:
        self.old, self.new = old, new
        self.macros = {
            one
            for one in old.macros.keys() | new.macros.keys()
            if one not in old.macros
            or one not in new.macros
            or not code.same(old.macros[one]["macro_sql"], new.macros[one]["macro_sql"])
        }
        self.variables = {
            one
            for one in old.variables.keys() | new.variables.keys()
            if old.variables.get(one) != new.variables.get(one)
        }
        self.moved = {
            one for one in old.nodes.keys() & new.nodes.keys() if _place(old.nodes[one]) != _place(new.nodes[one])
        }
        versions = [one.version.whole["metadata"]["dbt_version"] for one in (old, new)]
        self.dbt = () if versions[0] == versions[1] else (f"dbt {versions[0]} → {versions[1]}",)
        if self.dbt:  # says it of dbt's own macros
            self.macros = {one for one in self.macros if not one.startswith("macro.dbt")}
        self.tests_new, self.tests_gone = _tests(new, old), _tests(old, new)
        differing = {
            one.unique_id
            for state in (new, old)
            for one in state.facts.data_tests
            if _test(old, one.unique_id) != _test(new, one.unique_id)
        }
        self.tested = {
            node
            for state in (new, old)
            for test in differing & state.facts.nodes.keys()
            for node in state.facts.tested(test)
        }
        self.tests_changed = (differing & new.facts.nodes.keys()) | {
            one for one, test in _unit_tests(new).items() if _unit_tests(old).get(one) != test
        }

    def plan(self) -> Plan:
        """All of it."""
        kinds, reasons = self._own()
        for one in self._downstream({one for one, kind in kinds.items() if kind in (Kind.NEW, Kind.CHANGED)}):
            if kinds.get(one, Kind.COMMENTS) is Kind.COMMENTS:
                kinds[one] = Kind.DOWNSTREAM
        rebuilt = {one for one in self.new.nodes if self._is_rebuilt(one)}
        for one in rebuilt - kinds.keys():
            kinds[one] = Kind.COMMENTS
            reasons[one] = self._why_rebuilt(one)
        found = [
            self._model(self.new, one, kinds[one], reasons.get(one, ()), is_rebuilt=one in rebuilt) for one in kinds
        ]
        gone = (self.old.nodes.keys() - self.new.nodes.keys()) | self.moved
        found += [self._model(self.old, one, Kind.GONE, ()) for one in gone]
        places = _places(self.old.facts) | _places(self.new.facts)
        found.sort(key=lambda one: (places.get(one.unique_id, 0), one.name, one.kind is not Kind.GONE))
        touched = {one.unique_id for one in found}
        told = {one.unique_id for one in found if one.kind is not Kind.COMMENTS}
        return Plan(
            models=tuple(one for one in found if not _is_snapshot(one.unique_id)),
            snapshots=tuple(one for one in found if _is_snapshot(one.unique_id)),
            edges=self._edges(touched),
            exposures=self._exposures(told),
            tests_new=tuple(sorted(self.tests_new.values())),
            tests_gone=tuple(sorted(self.tests_gone.values())),
            tests_changed=tuple(sorted(self.tests_changed)),
            figures_new=_figures(self.new, self.old),
            figures_gone=_figures(self.old, self.new),
        )

    def _own(self) -> tuple[dict[str, Kind], dict[str, tuple[str, ...]]]:
        """What each model is by itself, and why."""
        kinds: dict[str, Kind] = {}
        reasons: dict[str, tuple[str, ...]] = {}
        for one in self.new.nodes:
            if one not in self.old.nodes:
                kinds[one] = Kind.NEW
            elif one in self.moved:
                kinds[one], reasons[one] = Kind.NEW, tuple(self._matters(one))
            elif matters := tuple(self._matters(one)):
                kinds[one], reasons[one] = Kind.CHANGED, matters
            elif beside := tuple(self._beside(one)):
                kinds[one], reasons[one] = Kind.COMMENTS, beside
        return kinds, reasons

    def _matters(self, unique_id: str) -> Iterator[str]:
        """What differs that may make other rows or another table."""
        old, new = self.old.nodes[unique_id], self.new.nodes[unique_id]
        if new["resource_type"] == "seed":
            if old["checksum"] != new["checksum"]:
                yield "rows of the seed"
        elif not _same_code(old, new):
            yield "SQL" if new.get("language", "sql") == "sql" else "code"
        yield from self._configured(old["config"], new["config"])
        if _contracted(old) != _contracted(new):
            yield "columns"
        used = self.old.used(old) | self.new.used(new)
        yield from (f"macro {self._macro(one)}" for one in sorted(used & self.macros))
        yield from (f"variable {one}" for one in sorted(self._asked(used, old, new) & self.variables))
        for parent in sorted(set(new["depends_on"].get("nodes", ()))):
            if self._differs(parent, "sources", "relation_name"):
                yield f"source {self.new.facts.title(parent)}"
            if self._differs(parent, "functions", "raw_code"):
                yield f"function {parent.split('.')[-1]}"
        yield from self.dbt

    def _configured(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
        for key in sorted((old.keys() | new.keys()) - _BESIDE):
            if old.get(key) != new.get(key) and not key.startswith("__dbt_internal"):
                values = [_value(config.get(key)) for config in (old, new)]
                said = f"{values[0]} → {values[1]}"
                yield f"{key}: {said}" if len(said) <= 2 * _LONGEST_VALUE else key
        for key in self._meta(old, new):
            if self._is_asked(key):
                yield f"meta.{key}"

    def _beside(self, unique_id: str) -> Iterator[str]:
        """What differs besides that."""
        old, new = self.old.nodes[unique_id], self.new.nodes[unique_id]
        if old.get("raw_code") != new.get("raw_code") and old["config"] == new["config"]:
            yield "comments"
        columns = old["columns"].keys() | new["columns"].keys()
        pairs = [(old["columns"].get(one, {}), new["columns"].get(one, {})) for one in columns]
        if any(one.get("description", "") != two.get("description", "") for one, two in ((old, new), *pairs)):
            yield "description"
        if self.old.facts.group_of(unique_id) != self.new.facts.group_of(unique_id):
            yield "owner"
        if sorted(old["config"].get("tags", ())) != sorted(new["config"].get("tags", ())):
            yield "tags"
        yield from (f"meta.{key}" for key in self._meta(old["config"], new["config"]))
        if _column_meta(old) != _column_meta(new):
            yield "meta of columns"
        if old["columns"].keys() != new["columns"].keys() or any(
            one.get("data_type") != two.get("data_type") for one, two in pairs
        ):
            yield "declared columns"
        if unique_id in self.tested:
            yield "tests"

    def _meta(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
        metas = [config.get("meta") or {} for config in (old, new)]
        return sorted(key for key in metas[0].keys() | metas[1].keys() if metas[0].get(key) != metas[1].get(key))

    def _is_asked(self, key: str) -> bool:
        return any(re.search(rf"\b{re.escape(key)}\b", state.asked_of_meta) for state in (self.old, self.new))

    def _macro(self, unique_id: str) -> str:
        return (self.new.macros.get(unique_id) or self.old.macros[unique_id])["name"]

    def _asked(self, used: Iterable[str], *nodes: Mapping[str, Any]) -> set[str]:
        """The variables that nodes and macros ask for; all of them where one asks by a name that it makes."""
        texts = [str(node.get("raw_code", "")) + str(node["config"]) for node in nodes]
        texts += [
            state.macros[one]["macro_sql"] for state in (self.old, self.new) for one in used if one in state.macros
        ]
        asked = {name for text in texts for name in _ASKED_VARIABLE.findall(text)}
        return self.variables if "" in asked else asked

    def _differs(self, unique_id: str, kind: str, what: str) -> bool:
        old, new = getattr(self.old.facts, kind).get(unique_id), getattr(self.new.facts, kind).get(unique_id)
        return bool(old and new and old.get(what) != new.get(what))

    def _downstream(self, changed: set[str]) -> set[str]:
        """All that reads it."""
        return {one for start in changed for one in self.new.facts.downstream(start)}

    def _is_rebuilt(self, unique_id: str) -> bool:
        """Whether the next run builds all of a model that it would have continued."""
        old, new = self.old.nodes.get(unique_id), self.new.nodes[unique_id]
        if old is None or not (self.old.takes_part(old) and self.new.takes_part(new)):
            return False
        return self._all_rebuilt or self.old.continued_by(unique_id) != self.new.continued_by(unique_id)

    @cached_property
    def _all_rebuilt(self) -> bool:
        """Whether something changed that each of them stands on: any macro, any variable, or dbt."""
        return bool(self.dbt) or self.old.facts.macros_hash != self.new.facts.macros_hash

    def _why_rebuilt(self, unique_id: str) -> tuple[str, ...]:
        """Of a model that is the same itself."""
        old, new = self.old.continued_by(unique_id), self.new.continued_by(unique_id)
        files = sorted(self.new.facts.title(one) for one in old.keys() & new.keys() if old[one] != new[one])
        return (*(f"reads {one}" for one in files), *(("macros or variables",) if self._all_rebuilt else ()))

    def _model(
        self, state: _State, unique_id: str, kind: Kind, reasons: tuple[str, ...], *, is_rebuilt: bool = False
    ) -> ModelChange:
        node, facts = state.nodes[unique_id], state.facts
        owner = failures.owner(unique_id, facts)
        is_both = kind not in (Kind.NEW, Kind.GONE)
        return ModelChange(
            unique_id=unique_id,
            name=node["alias"] if unique_id in self.moved else facts.title(unique_id),
            kind=kind,
            reasons=reasons,
            materialized=node["config"]["materialized"],
            is_rebuilt=is_rebuilt,
            is_mart=_is_mart(node),
            key=_key(facts, unique_id),
            personal=self._personal(unique_id),
            columns=_columns(self.old.nodes[unique_id], node) if is_both else (),
            owner=owner.name if owner else None,
        )

    def _personal(self, unique_id: str) -> tuple[str, ...]:
        """Those of its columns that are personal before or after; all that are where no contract says what it has."""
        nodes = [state.nodes[unique_id] for state in (self.old, self.new) if unique_id in state.nodes]
        marked = self.old.facts.personal_columns | self.new.facts.personal_columns
        if not all(_contracted(node) for node in nodes):
            return tuple(sorted(marked))
        return tuple(sorted(marked & {name for node in nodes for name in node["columns"]}))

    def _edges(self, touched: set[str]) -> tuple[tuple[str, str], ...]:
        """Lines that begin or end at something touched."""
        lines = {
            (parent, child): (state.facts.title(parent), state.facts.title(child))
            for state in (self.old, self.new)
            for child, node in state.nodes.items()
            for parent in node["depends_on"].get("nodes", ())
            if parent in state.nodes and (parent in touched or child in touched)
        }
        return tuple(sorted(set(lines.values())))

    def _exposures(self, touched: set[str]) -> tuple[Exposure, ...]:
        found: dict[str, Exposure] = {}
        for state in (self.new, self.old):
            for unique_id, exposure in state.facts.exposures.items():
                models = _stands_on(state.facts, unique_id) & touched & state.nodes.keys()
                if models and exposure["name"] not in found:
                    owner = exposure.get("owner") or {}
                    found[exposure["name"]] = Exposure(
                        name=exposure["name"],
                        label=exposure.get("label") or exposure["name"],
                        owner=owner.get("name") or owner.get("email"),
                        models=tuple(sorted(state.facts.title(one) for one in models)),
                    )
        return tuple(found[name] for name in sorted(found))


def _is_snapshot(unique_id: str) -> bool:
    return unique_id.startswith("snapshot.")


def _tests(of: _State, other: _State) -> dict[str, str]:
    """The data tests that the other state has not, by unique id."""
    there = {test.unique_id for test in other.facts.data_tests}
    return {test.unique_id: test.name for test in of.facts.data_tests if test.unique_id not in there}


def _test(state: _State, unique_id: str) -> tuple[Any, ...] | None:
    """What a data test looks for, where, and how it is judged; None where there is none."""
    node = state.facts.nodes.get(unique_id)
    return (*code.parts(node["raw_code"]), str(node["config"]), sorted(node["depends_on"]["nodes"])) if node else None


def _place(node: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where people find what a node makes: nowhere, if dbt puts it into what reads it."""
    config = node["config"]
    return node["alias"], config.get("schema"), config["materialized"] == "ephemeral"


def _figures(of: _State, other: _State) -> tuple[str, ...]:
    """The labels of what the message tells by one state and not by the other."""
    there = {metric.label for metric in metrics.told(other.facts)}
    return tuple(metric.label for metric in metrics.told(of.facts) if metric.label not in there)


def _unit_tests(state: _State) -> dict[str, tuple[Any, ...]]:
    """What each unit test gives and expects."""
    asked = ("model", "given", "expect", "overrides")
    return {
        one: tuple(test.get(key) for key in asked) for one, test in state.version.whole.get("unit_tests", {}).items()
    }


def _same_code(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    codes = old.get("raw_code") or "", new.get("raw_code") or ""
    languages = {old.get("language", "sql"), new.get("language", "sql")}
    return code.same(*codes) if languages == {"sql"} else codes[0] == codes[1] and len(languages) == 1


def _contracted(node: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The columns that dbt holds a model to; none without a contract."""
    if not (node["config"].get("contract") or {}).get("enforced"):
        return []
    return [
        (column["name"], column.get("data_type"), column.get("constraints"), column.get("quote"))
        for column in node["columns"].values()
    ]


def _column_meta(node: Mapping[str, Any]) -> dict[str, Any]:
    return {name: (column.get("config") or {}).get("meta") or {} for name, column in node["columns"].items()}


def _value(value: Any) -> str:
    return "none" if value is None else str(value)


def _is_mart(node: Mapping[str, Any]) -> bool:
    """Whether it is published for people: in the schema that a publish exchanges, and no helper."""
    return (
        node["resource_type"] != "snapshot"
        and not node["config"].get("schema")
        and node["config"]["materialized"] != "ephemeral"
        and not is_helper(node["name"])
    )


def _columns(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[ColumnChange, ...]:
    """Declared columns that are there in one state alone, or of another type; "" is a type that is not declared."""
    types = [{name: column.get("data_type") or "" for name, column in node["columns"].items()} for node in (old, new)]
    return tuple(
        ColumnChange(name, types[0].get(name), types[1].get(name))
        for name in dict.fromkeys((*types[0], *types[1]))
        if types[0].get(name) != types[1].get(name)
    )


def _key(facts: Manifest, unique_id: str) -> tuple[str, ...]:
    """The columns that tell its rows apart: as its tests say, else its semantic model, else how a snapshot is taken."""
    node = facts.nodes[unique_id]
    meta = node["config"].get("meta") or {}
    tests = [
        facts.nodes[test.unique_id]
        for test in facts.data_tests
        if facts.nodes[test.unique_id].get("attached_node") == unique_id
    ]
    unique = [one.get("column_name") for one in tests if _generic(one) == "unique" and not one["config"].get("where")]
    if unique:
        order = [meta.get("key"), *(node.get("primary_key") or ()), *node["columns"]]
        return (min(unique, key=lambda one: order.index(one) if one in order else len(order)),)
    for test in tests:
        asked = (test.get("test_metadata") or {}).get("kwargs", {})
        columns = {
            "unique_combination": asked.get("columns"),
            "unique_combination_of_columns": asked.get("combination_of_columns"),
        }.get(_generic(test) or "")
        if columns and not test["config"].get("where"):
            return tuple(columns)
    if given := node.get("primary_key") or node["config"].get("unique_key"):
        return (given,) if isinstance(given, str) else tuple(given)
    for model in facts.semantic_models.values():
        if unique_id in model["depends_on"]["nodes"]:
            keys = [one.get("expr") or one["name"] for one in model["entities"] if one["type"] == "primary"]
            return tuple(one for one in keys if one in node["columns"])
    return ()


def _generic(test: Mapping[str, Any]) -> str | None:
    return (test.get("test_metadata") or {}).get("name")


def _places(facts: Manifest) -> dict[str, int]:
    """How many nodes stand before each, on the longest way to it."""
    places: dict[str, int] = {}

    def place(unique_id: str) -> int:
        if unique_id not in places:
            places[unique_id] = max(
                (place(one) + 1 for one in facts.parents(unique_id) if one in facts.nodes), default=0
            )
        return places[unique_id]

    return {one: place(one) for one in facts.nodes}


def _stands_on(facts: Manifest, unique_id: str) -> set[str]:
    """The nodes that an exposure, a metric or a semantic model names, those within metrics among them."""
    others: dict[str, dict[str, Any]] = facts.exposures | facts.metrics | facts.semantic_models
    found: set[str] = set()
    left = [unique_id]
    while left:
        one = left.pop()
        if one in found:
            continue
        found.add(one)
        if one in others:
            left += others[one]["depends_on"].get("nodes", ())
    return found
