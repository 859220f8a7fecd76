"""What broke, as people need to hear it: where it started, what was measured, whose it is, and what it holds up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from include import words
from include.answers import answers
from include.answers.answer import Answer, Kind
from include.dbt_project.manifest import Manifest
from include.results.nodes import UNEXPLAINED, NodeResult

BROKEN = ("fail", "error")
_PASSED_BY_DEFAULT = ("!= 0", "!=0", None)
# Tests of what raw has lost since it was last published, which may be right: nothing in raw can be mended then.
_COMPARED_WITH_BEFORE = ("keeps_most_rows", "filled_for_most")


@dataclass(frozen=True)
class Owner:
    """Who answers for a model: the owner of its group. `slack` is who they are in Slack, if the project says."""

    name: str
    slack: str | None = None


@dataclass(frozen=True)
class Failure:
    """Something that broke or warned: a test, a model, a snapshot, or a task that left no result of dbt's.

    `measured` is what was found and `expected` what should have been, where that can be said apart. `rows` are the
    first rows that a test found, as text, without personal columns. `since` is the start of the first run that found
    the same, None where this one is the first; `days` is how many
    UTC days ago that was. `muted` is the answer by which it is told in short, `mine` that of who sees to it.
    """

    kind: str
    name: str
    measured: str
    expected: str | None = None
    column: str | None = None
    rows: tuple[Mapping[str, Any], ...] = ()
    since: datetime | None = None
    days: int = 0
    unique_id: str = ""
    muted: Answer | None = None
    mine: Answer | None = None

    @property
    def wanted(self) -> str:
        """What should have been, as it is said after what was found; a sentence, as of a description, by itself."""
        if not self.expected:
            return ""
        return f"expected: {self.expected}" if self.expected[0].isupper() else f"expected {self.expected}"


@dataclass(frozen=True)
class Root:
    """A place where it broke, with all that broke there: a model, a source's table, a snapshot or a task.

    `not_built` are the models behind it that were not built because of it, `also_failed` what failed behind it, and
    `exposures` what people look at that stands on it, each by name. `log_url` leads to the log of its task.
    `unique_id` is that of the node, where it broke at one.
    """

    kind: str
    name: str
    failures: tuple[Failure, ...]
    owner: Owner | None = None
    not_built: tuple[str, ...] = ()
    also_failed: tuple[str, ...] = ()
    exposures: tuple[str, ...] = ()
    log_url: str | None = None
    unique_id: str = ""

    @property
    def muted(self) -> bool:
        """Whether somebody has muted all of it."""
        return all(failure.muted for failure in self.failures)

    @property
    def known(self) -> bool:
        """Whether all of it has been told before."""
        return all(failure.since for failure in self.failures)


@dataclass
class _Place:
    """Where results belong, while they are put together."""

    kind: str
    name: str
    node: str | None
    results: list[NodeResult] = field(default_factory=list)


@dataclass(frozen=True)
class RunContext:
    """What is known of the run whose results they are: `since` and `log_urls` go by the results' unique ids.

    `answers` are those in force.
    """

    started_at: datetime | None
    since: Mapping[str, datetime]
    log_urls: Mapping[str, str]
    answers: tuple[Answer, ...] = ()


def broken(results: Iterable[NodeResult], facts: Manifest, run: RunContext, not_built: Iterable[str]) -> list[Root]:
    """What failed, by the place where it broke first; what broke behind such a place is told with it.

    `not_built` are unique ids of models; one behind several places is told with the first of them.
    """
    places = _places(results, facts)
    nodes = {place.node for place in places if place.node}
    behind = [place for place in places if place.node and facts.upstream(place.node) & nodes]
    firsts = [place for place in places if place not in behind]
    left = set(not_built)
    found = []
    for place in firsts:
        downstream = facts.downstream(place.node) if place.node else set()
        held_up = [node for node in facts.nodes if node in left and node in downstream]
        left -= set(held_up)
        failed = [one for one in behind if place.node in facts.upstream(one.node or "")]
        behind = [one for one in behind if one not in failed]
        also = tuple(title(result, facts) for one in failed for result in one.results)
        found.append(_root(place, facts, run, tuple(map(facts.title, held_up)), also))
    return found


def warned(results: Iterable[NodeResult], facts: Manifest, run: RunContext) -> list[Root]:
    """What warned, by place: a warning holds nothing up, so each stands for itself."""
    return [_root(place, facts, run) for place in _places(results, facts)]


def _root(
    place: _Place, facts: Manifest, run: RunContext, not_built: tuple[str, ...] = (), also_failed: tuple[str, ...] = ()
) -> Root:
    return Root(
        kind=place.kind,
        name=place.name,
        failures=tuple(failure(one, facts, run) for one in place.results),
        owner=owner(place.node, facts),
        not_built=not_built,
        also_failed=also_failed,
        exposures=exposures(place.node, facts),
        log_url=run.log_urls.get(place.results[0].unique_id),
        unique_id=place.node or "",
    )


def title(result: NodeResult, facts: Manifest) -> str:
    """What people call a result in a few words: "unique on raw.orders.order_id", "model int_orders"."""
    if result.unique_id not in facts.nodes or result.resource_type != "test":
        place = _place(result, facts)
        return f"freshness of {place.name}" if result.resource_type == "freshness" else f"{place.kind} {place.name}"
    return title_of_test(result.unique_id, facts)


def title_of_test(test: str, facts: Manifest) -> str:
    """The same of a data test by its unique id."""
    node = facts.nodes[test]
    generic = (node.get("test_metadata") or {}).get("name")
    if generic is None:
        return f"test {node['name']}"
    tested = facts.tested(test)
    column = f".{node['column_name']}" if node.get("column_name") else ""
    return f"{generic} on {facts.title(tested[0]) if len(tested) == 1 else node['name']}{column}"


def expectation(test: str, facts: Manifest) -> str:
    """What a data test wants to be so, in words: "each value once"; its description where it is no generic one."""
    node = facts.nodes[test]
    metadata = node.get("test_metadata") or {}
    if description := _description(node):
        return description
    arguments = metadata.get("kwargs", {})
    match metadata.get("name"):
        case "unique_combination":
            return f"each combination of {', '.join(map(str, arguments.get('columns', ())))} once"
        case "not_empty":
            return "at least one row"
        case "not_negative":
            return "no negative value"
        case "is_finite":
            return "a number below a billion in every row, neither NaN nor infinite"
        case "is_id":
            return "no id that is blank or longer than 1,000 bytes"
        case "holds":
            return f"`{arguments.get('expression')}` in every row"
        case "holds_for_most":
            return f"`{arguments.get('expression')}` in most rows"
        case "keeps_most_rows":
            return "at least half as many rows as when data was last published"
        case "filled_for_most":
            return "a value in most new rows of each column in which nine of ten had one when data was last published"
    expected = _of_test(metadata.get("name"), arguments, 0)[1]
    return "no row that its SQL finds" if expected == "none" else expected


def _places(results: Iterable[NodeResult], facts: Manifest) -> list[_Place]:
    """By place, in the order in which they broke; tasks that were refused for one reason are one."""
    places: dict[str, _Place] = {}
    reasons: set[str | None] = set()
    for result in results:
        place = _place(result, facts)
        if result.resource_type == "task":
            if result.message in reasons:
                continue
            reasons |= {result.message} - {UNEXPLAINED}
        places.setdefault(place.node or place.name, place).results.append(result)
    return list(places.values())


def _place(result: NodeResult, facts: Manifest) -> _Place:
    if result.resource_type == "task":
        node = facts.node_of(result.name)
        return _Place("task", facts.title(node) if node else result.name, node)
    if result.resource_type == "freshness":
        source = result.unique_id.removeprefix("freshness.")
        return _Place("source", facts.title(source) if source in facts.sources else result.name, source)
    if result.resource_type != "test" or result.unique_id not in facts.nodes:
        return _Place(result.resource_type, result.name, result.unique_id)
    tested = facts.tested(result.unique_id)
    if len(tested) != 1:
        return _Place("test", result.name, result.unique_id)
    [node] = tested
    kind = "source" if node in facts.sources else facts.nodes.get(node, {}).get("resource_type", "model")
    return _Place(kind, facts.title(node), node)


def failure(result: NodeResult, facts: Manifest, run: RunContext) -> Failure:
    """A result that is not well, as people need to hear it."""
    node = facts.nodes.get(result.unique_id, {})
    measured, expected = _measured(result, facts)
    column = node.get("column_name") if result.resource_type == "test" else None
    hidden, since = facts.personal_columns, run.since.get(result.unique_id)
    tested, may_be_muted = (
        tested_by(result, facts),
        result.resource_type in ("test", "freshness"),
    )  # no model that broke
    rows = [] if facts.tests_personal(result.unique_id) else result.failing_rows
    return Failure(
        kind=result.resource_type,
        name=result.name,
        measured=measured,
        expected=expected,
        column=column,
        rows=tuple({name: row[name] for name in row if name not in hidden} for row in rows),
        since=since,
        days=(_utc_date(run.started_at) - _utc_date(since)).days if since and run.started_at else 0,
        unique_id=result.unique_id,
        muted=answers.of(run.answers, Kind.MUTE, result.unique_id, tested) if may_be_muted else None,
        mine=answers.of(run.answers, Kind.MINE, result.unique_id, tested),
    )


def tested_by(result: NodeResult, facts: Manifest) -> list[str]:
    """Unique ids of what a test or a freshness is of: what is answered to that is answered to it. Of others, none."""
    if result.resource_type == "freshness":
        return [result.unique_id.removeprefix("freshness.")]
    return facts.tested(result.unique_id) if result.resource_type == "test" and result.unique_id in facts.nodes else []


def _utc_date(at: datetime) -> date:
    return at.astimezone(UTC).date()


def _measured(result: NodeResult, facts: Manifest) -> tuple[str, str | None]:
    """What was found, and what should have been."""
    if result.resource_type == "freshness":
        return without_data(result.message or "stale"), _fresh_within(result, facts)
    node = facts.nodes.get(result.unique_id, {})
    if result.resource_type != "test" or result.status == "error" or result.failures is None or not node:
        message = result.message or ""
        return (message if result.resource_type == "task" else without_data(message) + _way_out(message)), None
    metadata = node.get("test_metadata") or {}
    found, expected = _of_test(metadata.get("name"), metadata.get("kwargs", {}), result.failures)
    config = node["config"]
    if config.get("meta", {}).get("names_faults") and (faults := _faults(result.failing_rows)):
        found += f": {faults}"
    if where := config.get("where"):
        found += f" (where {where})"
    limit = config.get("error_if") if result.status == "fail" else config.get("warn_if")
    if limit not in _PASSED_BY_DEFAULT:
        expected = f"{expected}, and it {'fails' if result.status == 'fail' else 'warns'} where the count is {limit}"
    if description := _description(node):
        expected = description
    if metadata.get("name") in _COMPARED_WITH_BEFORE and result.status == "fail":
        expected += f". If that is right: `mute {result.name} --waives` (docs/runbook.md), then clear check_sources"
    return found, expected


def _way_out(message: str) -> str:
    """What to do about an error of the database that Postgres says nothing of."""
    if "temp_file_limit" in message:
        return (
            ". So much one process may put on the disk at a time while it sorts and joins. Let a superuser raise it "
            "for greenery_transformer where the disk has room, or raise work_mem; then clear the task with everything "
            "downstream"
        )
    return ""


def _description(node: Mapping[str, Any]) -> str | None:
    """What a test of one's own expects, from its YAML or `config(description=…)`; of a generic one if its meta says."""
    if node.get("test_metadata") and not node["config"].get("meta", {}).get("expects_description"):
        return None  # its arguments say it
    return node.get("description") or node["config"].get("description")


def _of_test(name: str | None, arguments: Mapping[str, Any], count: int) -> tuple[str, str]:
    """The same of dbt's own generic tests and of this project's; of others, the number of rows."""
    columns, rows = ", ".join(map(str, arguments.get("columns", ()))), words.count(count, "row")
    match name:
        case "unique":
            return f"{_values(count)} more than once", "each value once"
        case "unique_combination":
            return f"{_values(count, f'combination of {columns}')} more than once", "each once"
        case "not_null":
            return f"{rows} without a value", "a value in every row"
        case "accepted_values":
            allowed = ", ".join(map(str, arguments.get("values", ())))
            return f"{words.count(count, 'other value')}", f"one of {allowed}"
        case "relationships":
            return f"{rows} without a match", f"each in {_parent(arguments)}.{arguments.get('field', '')}"
        case "not_empty":
            return "no rows", "at least one"
        case "has_shape":
            verb = "is" if count == 1 else "are"
            return f"{words.count(count, 'column')} {verb} not as declared", "the declared names and types"
        case "not_negative":
            return f"{words.count(count, 'negative value')}", "none"
        case "is_finite":
            return f"{rows} with NaN, an infinite number or one of a billion or more", "a number in every row"
        case "is_id":
            return f"{words.count(count, 'id')} blank or too long", "text in each, of 1,000 bytes at most"
        case "not_before":
            moment = arguments.get("moment")
            return f"{rows} where {arguments.get('column_name')} is before {moment}", f"{moment} first"
        case "happens_within":
            began, ended = arguments.get("began"), arguments.get("ended")
            late = f" or after {ended}" if ended else ""
            found = f"{rows} where {arguments.get('column_name')} is before {began}{late} in {_parent(arguments)}"
            return found, f"between {began} and {ended}" if ended else f"{began} first"
        case "unique_but_for_case":
            return (
                f"{words.count(count, 'key')} written in more than one way",
                "one way, whatever the case and the space",
            )
        case "is_zip_code":
            return f"{rows} with a zip code of another form than its country's", "one of the country's in every row"
        case "well_formed":
            return f"{words.count(count, 'value')} not well formed", "what the column is for, as people write it"
        case "holds":
            return f"{rows} where it does not hold", str(arguments.get("expression"))
        case "holds_for_most":
            return "it does not hold for most rows", str(arguments.get("expression"))
        case "keeps_most_rows":
            return "less than half as many rows as when data was last published", "at least half"
        case "filled_for_most":
            return f"{words.count(count, 'column')} empty for most new rows", "a value in most, as before"
    return f"{rows} found", "none"


def _faults(rows: Iterable[Mapping[str, Any]]) -> str:
    """What the first rows tell of a test that names faults: "email: no e-mail address"."""
    return ", ".join(dict.fromkeys(f"{row['column_name']}: {row['fault']}" for row in rows if "fault" in row))


def _parent(arguments: Mapping[str, Any]) -> str:
    """The model or table that a test compares with, by its name in `to`."""
    return re.sub(r".*?'([^']+)'\s*\)$", r"\1", str(arguments.get("to", "")))


def _fresh_within(result: NodeResult, facts: Manifest) -> str | None:
    source = facts.sources.get(result.unique_id.removeprefix("freshness."), {})
    freshness = source.get("freshness") or source.get("config", {}).get("freshness") or {}
    within = freshness.get("error_after" if result.status in BROKEN else "warn_after") or {}
    if not within.get("count"):
        return None
    return f"at most {words.count(within['count'], within['period'])} ago"


def without_data(message: str) -> str:
    """dbt's message without what leads up to it, and without values that a database quotes: they may be personal."""
    # A value may have line breaks and quotes of its own.
    told = re.sub(r"^\s*(DETAIL|CONTEXT):.*?(?=^\s*(?:HINT:|LINE \d)|\Z)", "", message, flags=re.MULTILINE | re.DOTALL)
    told = re.sub(r"^\s*((Database|Runtime|Compilation) Error in |compiled code at ).*$", "", told, flags=re.MULTILINE)
    told = re.sub(r'(: |\bvalue |\btime zone )".*"', r'\1"…"', told, flags=re.DOTALL)
    return " ".join(told.split())


def owner(node: str | None, facts: Manifest) -> Owner | None:
    """Who answers for a node, by its unique id; None where nobody is named."""
    if node is None:
        return None
    group = facts.group_of(node)
    if group is None and node in facts.nodes:  # a test across models is of those who own what it leads to
        parents = facts.nodes[node]["depends_on"].get("nodes", [])  # a seed has none
        last = [one for one in parents if not any(one in facts.upstream(other) for other in parents)]
        group = next((found for one in last if (found := facts.group_of(one))), None)
    if group is None:
        return None
    meta = {**(group.get("meta") or {}), **(group.get("config", {}).get("meta") or {})}
    slack = meta.get("slack")
    return Owner((group.get("owner") or {}).get("name") or group["name"], str(slack) if slack else None)


def exposures(node: str | None, facts: Manifest) -> tuple[str, ...]:
    """What people look at that stands on a node, or on what a test reads."""
    tested = facts.tested(node) if node in facts.nodes and facts.nodes[node]["resource_type"] == "test" else [node]
    reached = {one for start in tested if start for one in (start, *facts.downstream(start))}
    return tuple(
        exposure.get("label") or exposure["name"]
        for exposure in facts.exposures.values()
        if reached & set(exposure["depends_on"]["nodes"])
    )


def _values(number: int, noun: str = "value") -> str:
    noun = noun if number == 1 else noun.replace(noun.split()[0], f"{noun.split()[0]}s", 1)
    return f"{number:,} {noun} {'occurs' if number == 1 else 'occur'}"
