"""What machines may ask: each tool is a view of the page. Its docstring is what a machine reads before it asks.

An answer is JSON: what the view says, and what it stands on. `held` says that people see older data than there should
be, and `why_held` says why. What is too much is left out and counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import to_json

from include import settings, words
from include.receipts import address, explain, kept_moves
from include.results import publications, trust
from include.results.publications import ROLL_BACK, Publication
from plugins.data_health import nodes, runs
from plugins.data_health.reading import Reading
from plugins.data_health.results import TestState
from plugins.data_health.runs import Run, State
from plugins.data_health.views import exposed, figures, health, model, now, receipt, run, run_list, test, tests, unusual

# In characters; a machine reads all of it.
LONGEST, LONGEST_TEXT = 40_000, 2_000
# Of each list so many, and fewer where that is too long.
LISTED = (50, 20, 8, 3, 1)

# Postgres takes no text with a null character.
Name = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00]+$")]
# No day of a shop, but what dates can be reckoned with.
Day = Annotated[date, Field(gt=date(1000, 1, 1), lt=date(9999, 1, 1))]
ToldOn = Annotated[
    datetime | None, BeforeValidator(lambda given: receipt.moment(given) if isinstance(given, str) else given)
]
Id = Annotated[int, Field(ge=1, lt=2**63)]


@dataclass(frozen=True)
class Answer:
    """What a view says, and the address of its page; the run, the tests by name and the publication that it is about.

    Without a publication it is about what people query now.
    """

    says: Any
    page: str
    run: Run | None = None
    tests: tuple[str, ...] = ()
    publication: Publication | None = None


# Tools ---------------------------------------------------------------------------------------------------------------


def state_of_data(reading: Reading) -> Answer:
    """Say whether the data can be trusted now: as of when it is, what became of the last run, what failed and where.

    Ask this first. `report.roots` are the places where it broke first, with owners and failing rows.
    """
    found = now.read(reading)
    broke = found.report.roots + found.report.warnings if found.report else ()
    failed = tuple(one.unique_id for root in broke for one in root.failures if one.kind == "test")
    return Answer(found, settings.health_url(), found.run, _names_of_tests(reading, failed))


def list_figures(reading: Reading, until: Day | None = None) -> Answer:
    """List what is told of each metric over the week that ends with a UTC day, and what the last publications moved."""
    found = figures.read(reading, until)
    return Answer(found, settings.health_url("figures"))


def figure(reading: Reading, metric: Name, day: Day, told_on: ToldOn = None) -> Answer:
    """Give the receipt of a figure: what a metric told of a UTC day, on which loads, models and tests it stood.

    Also which rows make it up, how it was told on every publication since, and what is known against it.

    `told_on` is an ISO moment, or a UTC day for its end: the receipt of what people were told then. Without it, of now.
    """
    found = receipt.read(reading, metric, day, told_on)
    ran = runs.named(reading, found.publication.run_id) if found.publication and found.has_run else None
    asked = tuple(one.page for one in found.tests if one.page)
    return Answer(found, address.url(metric, day, told_on), ran, asked, found.publication)


def what_moved(reading: Reading, publication_id: Id | None = None) -> Answer:
    """Say which closed days, months and years a publication changed after they had been told: by how much, which rows.

    Without a publication: what the newest one changed. What we did, such as a changed model, is in `causes`: where
    rows that came late or are gone add up to it, say *at the same time*.
    """
    publication = _publication(reading, publication_id)
    found = kept_moves.of_publication(reading.connection, publication.publication_id)
    return Answer(found, settings.health_url("figures"), publication=publication)


def why_a_figure_differs(reading: Reading, metric: Name, day: Day, former_day: Day | None = None) -> Answer:
    """Split the difference between a metric's day and a former one into parts that add up.

    Both as people query them now. Without a former day: the one that the message took, else the day before.
    `meanwhile` is what else happened on these days. It is no cause: say *at the same time*.
    """
    of_day = receipt.read(reading, metric, day)
    in_message = of_day.explanation.former_day if of_day.explanation else day - timedelta(days=1)
    before = former_day or in_message
    found = explain.explain(reading.connection, reading.facts, metric, day, before)
    if found is None:
        raise LookupError(f"{metric} can't be split between {before} and {day}. figure tells the value of each day.")
    return Answer(found, address.url(metric, day), publication=of_day.publication)


def lineage(reading: Reading, name: Name) -> Answer:
    """Say what a model, snapshot or source comes from and leads to, up to the dashboards that stand on it."""
    found = model.read(reading, name)
    says = {
        "name": found.name,
        "kind": found.kind,
        "grain": found.grain,
        "owner": found.owner,
        "reads": found.upstream,
        "is_read_by": found.downstream,
        "comes_from": found.comes_from,
        "leads_to": found.leads_to,
        "all_upstream": _titles(reading, reading.facts.upstream(found.unique_id)),
        "all_downstream": _titles(reading, reading.facts.downstream(found.unique_id)),
        "exposures": found.exposures,
    }
    return Answer(says, _page("models", found.name))


def tests_of_model(reading: Reading, name: Name) -> Answer:
    """List the data tests on a model, snapshot or source: what each expects, and how it ended last and since when."""
    found = model.read(reading, name)
    says = {"name": found.name, "tests": [replace(one, days=()) for one in found.tests]}
    return Answer(says, _page("models", found.name), tests=tuple(one.name for one in found.tests))


def failing_rows(reading: Reading, test_name: Name) -> Answer:
    """Say what a data test found when it last failed or warned: the count and first rows, without personal columns.

    `hidden` says that rows are kept back, as what is tested is personal.
    """
    found = test.read(reading, test_name)
    says = {
        "name": found.name,
        "title": found.title,
        "expects": found.expects,
        "severity": found.severity,
        "on": found.on,
        "owner": found.owner,
        "standing": found.standing,
        "last_failed": found.last_failed,
        "answers": found.answers,
    }
    of_run = found.last_failed.result.run_id if found.last_failed else found.standing.run_id
    ran = runs.named(reading, of_run) if of_run else None
    return Answer(says, _page("tests", found.name), ran, (found.name,))


def list_tests(reading: Reading, state: TestState | None = None) -> Answer:
    """List the data tests, the worst first; with a state, those that stand so. All of them are counted."""
    found = tests.read(reading, state)
    return Answer(found, settings.health_url("tests"), found.run)


def unusual_figures(reading: Reading) -> Answer:
    """List what the data's own past makes unlikely now, whatever its tests say; and what of it is muted."""
    found = unusual.read(reading)
    says = {"findings": found.findings, "muted": found.muted, "series_watched": found.series}
    return Answer(says, settings.health_url("unusual"), found.run)


def trust_of_marts(reading: Reading) -> Answer:
    """Say of each published mart and of each dashboard how far it can be trusted.

    As of when, complete to which day, how its tests ended, held since when, and by whose decision.
    """
    marts = trust.of_marts(reading.connection)
    exposures = [exposed.read(reading, one["name"]) for one in reading.facts.exposures.values()]
    return Answer({"marts": list(marts.values()), "exposures": exposures}, settings.health_url("models"))


def list_runs(reading: Reading, days: Literal[30, 90, 365] = 30) -> Answer:
    """List the runs of the last days, the newest first, and how many of their tests passed, warned and failed."""
    return Answer(run_list.read(reading, days), settings.health_url("runs"))


def one_run(reading: Reading, run_id: Name) -> Answer:
    """Say what a run told in its message, and what each of its tasks left."""
    found = run.read(reading, run_id)
    return Answer(found, _page("runs", run_id), found.run)


def search(reading: Reading, text: Name) -> Answer:
    """Find models, sources, snapshots, tests, metrics and dashboards by a part of their name or title."""
    found = [one for one in _named(reading) if text.lower() in f"{one['name']} {one['title']}".lower()]
    return Answer(found, settings.health_url("models"))


TOOLS: tuple[Callable[..., Answer], ...] = (
    state_of_data,
    list_figures,
    figure,
    what_moved,
    why_a_figure_differs,
    lineage,
    tests_of_model,
    failing_rows,
    list_tests,
    unusual_figures,
    trust_of_marts,
    list_runs,
    one_run,
    search,
)


def _publication(reading: Reading, publication_id: int | None) -> Publication:
    """One of them, by default what people query now."""
    if publication_id is None:
        if live := publications.live(reading.connection):
            return live
        raise LookupError("Nothing was published yet.")
    if found := publications.named(reading.connection, [publication_id]).get(publication_id):
        return found
    raise LookupError(f"There is no publication {publication_id} in ops.publications.")


def _names_of_tests(reading: Reading, unique_ids: tuple[str, ...]) -> tuple[str, ...]:
    names = nodes.data_tests(reading.facts)
    return tuple(names[one] for one in unique_ids if one in names)


def _titles(reading: Reading, unique_ids: set[str]) -> list[str]:
    names = nodes.relations(reading.facts)
    return sorted(names[one] for one in unique_ids if one in names)


def _named(reading: Reading) -> Iterator[dict[str, str]]:
    """All that has a name, tests last: there are many."""
    facts = reading.facts
    relations, data_tests = nodes.relations(facts), nodes.data_tests(facts)
    for one in relations:
        node, name = nodes.node(facts, one), relations[one]
        title = nodes.grain(node.get("description"))
        yield {"kind": node["resource_type"], "name": name, "title": title, "page": _page("models", name)}
    for kind, of_kind, page in (
        ("metric", facts.metrics, _page("figures")),
        ("exposure", facts.exposures, settings.health_url()),
    ):
        for one in of_kind.values():
            yield {"kind": kind, "name": one["name"], "title": one.get("label") or one["name"], "page": page}
    for test_of in facts.data_tests:
        name = data_tests[test_of.unique_id]
        yield {"kind": "test", "name": name, "title": test_of.name, "page": _page("tests", name)}


def _page(*parts: str) -> str:
    return settings.health_url(*parts)


# What an answer stands on --------------------------------------------------------------------------------------------


def say(reading: Reading, answer: Answer) -> str:
    """An answer as JSON, with what it stands on, at most `LONGEST` characters."""
    live = publications.live(reading.connection)
    about = answer.publication or live
    why_held = list(_why_held(reading, live))
    told_of = {
        "asked_at": reading.at,
        "held": bool(why_held),
        "why_held": why_held,
        "page": answer.page,
        "cites": {
            "publication": _cited_publication(about) if about else None,
            "run": _cited_run(answer.run) if answer.run else None,
            "tests": [{"name": name, "page": _page("tests", name)} for name in answer.tests],
        },
        "says": answer.says,
    }
    whole = json.loads(to_json(told_of, inf_nan_mode="null"))
    for items in LISTED:
        left_out: Counter[str] = Counter()
        text = json.dumps({**_bounded(whole, items, left_out, ""), "left_out": left_out}, ensure_ascii=False)
        if len(text) <= LONGEST:
            return text
    raise LookupError(f"The answer is longer than {LONGEST:,} characters. Its page has all of it: {answer.page}")


def _cited_publication(about: Publication) -> dict[str, Any]:
    return {
        "publication_id": about.publication_id,
        "published_at": about.published_at,
        "data_as_of": about.data_as_of,
        "run_id": about.run_id,
        "decision": about.decision,
        "page": _page("runs", about.run_id),
    }


def _cited_run(of: Run) -> dict[str, Any]:
    return {"run_id": of.run_id, "state": of.state, "started_at": of.started_at, "page": _page("runs", of.run_id)}


def _why_held(reading: Reading, live: Publication | None) -> Iterator[str]:
    """Why people see older data than there should be; nothing where they don't."""
    if hold := publications.hold(reading.connection):
        yield f"{hold.by} holds publishing back since {words.moment(hold.decided_at)}: {hold.reason}"
    if live and live.decision and live.decision.action == ROLL_BACK:
        put_back = live.decision
        yield f"{put_back.by} put the former data back on {words.moment(put_back.decided_at)}: {put_back.reason}"
    last = runs.newest(reading)
    if last and last.state in (State.FAILED, State.UNKNOWN):
        seen = f"people see the data as of {words.moment(live.data_as_of)}" if live else "people see no data"
        yield f"The last run, {last.run_id}, did not publish: {seen}."
    if late := health.late_since(reading):
        yield f"What was due at {words.moment(late)} is not published."


def _bounded(value: Any, items: int, left_out: Counter[str], place: str) -> Any:
    """The same with shorter lists and texts; counts what is left out, by its place in the answer."""
    match value:
        case list():
            if len(value) > items:
                left_out[place] += len(value) - items
            return [_bounded(one, items, left_out, f"{place}[]") for one in value[:items]]
        case dict():
            return {
                key: _bounded(one, items, left_out, f"{place}.{key}" if place else key) for key, one in value.items()
            }
        case str() if len(value) > LONGEST_TEXT:
            return f"{value[:LONGEST_TEXT]}… ({len(value) - LONGEST_TEXT:,} characters more)"
    return value
