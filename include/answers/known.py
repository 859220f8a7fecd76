"""What there is to answer to in a dbt project, and what people call it."""

from __future__ import annotations

from dataclasses import replace

from include.answers.answer import About
from include.answers.answers import AnswerError
from include.dbt_project.manifest import Manifest

FRESHNESS = "freshness."


def find(facts: Manifest, name: str) -> str:
    """The unique id of a test, model, snapshot, seed, source or metric, by that or by its name. Raises AnswerError."""
    if is_known(facts, name):
        return name
    found = [one for one in _all(facts) if title(facts, one) == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise AnswerError(f"{name} is the name of several: {', '.join(sorted(found))}. Give the one that you mean.")
    raise AnswerError(
        f"There is no test, model, source or metric {name[:200]} in the dbt project as it is now. Its page and "
        "`dbt ls` show what it is called."
    )


def is_known(facts: Manifest, unique_id: str) -> bool:
    """Whether the project as it is now has it."""
    return unique_id in _all(facts) or unique_id.removeprefix(FRESHNESS) in facts.sources


def title(facts: Manifest, unique_id: str) -> str:
    """What people call it; what the project has lost goes by the name in its id."""
    if unique_id.startswith(FRESHNESS):
        return f"freshness of {facts.title(unique_id.removeprefix(FRESHNESS))}"
    if metric := facts.metrics.get(unique_id):
        return metric["name"]
    parts = unique_id.split(".")
    lost_test = parts[0] == "test" and unique_id not in facts.nodes and len(parts) > 2
    return parts[2] if lost_test else facts.title(unique_id)


def shown(facts: Manifest, about: About) -> About:
    """The same without the value of a personal column; it may have been marked so after somebody answered."""
    return replace(about, item="…") if about.item and about.column in facts.personal_columns else about


def titled(facts: Manifest, about: About) -> str:
    """The same of what an answer is about: with its column, its value, and what is measured."""
    about = shown(facts, about)
    column = f".{about.column}" if about.column else ""
    item = f" = {about.item}" if about.item else ""
    measure = f", {about.measure.replace('_', ' ')}" if about.measure else ""
    return f"{title(facts, about.unique_id)}{column}{item}{measure}"


def _all(facts: Manifest) -> dict[str, object]:
    return {**facts.nodes, **facts.sources, **facts.metrics}
