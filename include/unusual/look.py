"""What a run sees of the data that it is about to publish: it is observed, and what is unusual is found."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from include.answers import answers
from include.dbt_project.manifest import Manifest
from include.unusual import observe
from include.unusual.find import find, keep
from include.unusual.observe import NotSeen
from include.unusual.series import Unusual
from include.warehouse import connect

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Looked:
    """What is unusual, the worst first, and what could not be looked at."""

    unusual: tuple[Unusual, ...] = ()
    not_seen: tuple[NotSeen, ...] = ()


def look(run_id: str, facts: Manifest, begun: datetime | None) -> Looked:
    """Observe what a run built from raw as it was when it had `begun`, and keep what is unusual of it.

    Never raises, since it must not cost a publish: what goes wrong is logged and returned.
    """
    not_seen = observe.of_run(run_id, facts, begun)
    if any(not one.unique_id for one in not_seen):  # nothing was observed, and former days are told
        return Looked(not_seen=not_seen)
    try:
        with connect("greenery unusual") as connection:
            in_force = answers.in_force(connection, datetime.now(UTC).date())
            return Looked(find(connection, run_id, facts, in_force), not_seen)
    except Exception as error:
        log.exception("What is unusual could not be found.")
        return Looked(not_seen=(*not_seen, observe.nothing(facts, error)))


def look_at_raw(run_id: str, facts: Manifest, begun: datetime | None) -> None:
    """The same of the raw tables alone, for a run that did not get as far as to publish: its marts are not whole.

    What is unusual is kept, and the day is not: who publishes it observes it. Never raises.
    """
    tests = {unique_id: node for unique_id, node in facts.nodes.items() if node["resource_type"] == "test"}
    of_raw = replace(facts, nodes=tests, metrics={})
    try:
        with connect("greenery unusual") as connection, connection.cursor() as cursor:
            as_of = observe.last_load(cursor, begun or datetime.now(UTC))
            cursor.execute("savepoint not_kept")
            observe.observe(connection, run_id, of_raw, as_of)
            found = find(connection, run_id, of_raw, answers.in_force(connection, datetime.now(UTC).date()))
            cursor.execute("rollback to savepoint not_kept")
            day = as_of.astimezone(UTC).date() - timedelta(days=1)
            keep(connection, run_id, [one for one in found if one.day == day])
    except Exception:
        log.exception("What is unusual of the raw tables could not be found.")
