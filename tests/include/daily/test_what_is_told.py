"""What people last read of a run is true, whatever became of the run, of its report and of Slack: a table of all ways.

A run fails or is published, is cleared and does so again, is published by hand, its report is killed, Slack is down.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.context import set_current_context
from psycopg2.extensions import connection as Connection

from include.daily import report
from include.results import node_results, publications, runs
from include.slack import decision, send
from include.warehouse import connect
from tests.include.results.project import FACTS
from tests.include.results.test_summary import BUILT, FAILED
from tests.releases import make_release
from tests.slack_server import ENGINEERS_PATH, PATH, Slack, slack_server

pytestmark = pytest.mark.db

BROKEN = replace(FAILED, unique_id="test.p.fact_unique", name="fact_unique", failures=1)
WELL = replace(BROKEN, status="pass", failures=0, message=None, failing_rows=[])
TITLE = "unique on fact_orders.order_id"


class Step(StrEnum):
    """What becomes of a run: a first try, or one more once it was cleared; or somebody publishes what it built."""

    FAILED = "failed"
    FAILED_UNTOLD = "failed, report killed"
    BY_HAND = "published by hand"
    PUBLISHED = "published"
    PUBLISHED_UNTOLD = "published, report killed"


TRIES = [one for one in Step if one is not Step.BY_HAND]
FAILURES, UNTOLD = (Step.FAILED, Step.FAILED_UNTOLD), (Step.FAILED_UNTOLD, Step.PUBLISHED_UNTOLD)


class Around(StrEnum):
    """What else goes on."""

    NOTHING = "the watchdog looks at the end"
    WATCHED = "the watchdog looks after each"
    SLACK_IS_DOWN = "Slack is down until the end"


def ways(length: int) -> Iterator[tuple[Step, ...]]:
    """All that can become of a run in so many steps: by hand goes only what failed."""
    if length == 0:
        yield ()
        return
    for way in ways(length - 1):
        yield from ((*way, step) for step in TRIES)
        if way and way[-1] in FAILURES:
            yield (*way, Step.BY_HAND)


@dataclass
class Story:
    """A warehouse with a Slack, and what happens to its runs."""

    ops: Connection
    slack: Slack
    patch: pytest.MonkeyPatch
    ended: set[str] = field(default_factory=set)
    tries: dict[str, int] = field(default_factory=dict)
    states: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.slack_is_up(True)

    def slack_is_up(self, up: bool) -> None:
        """Whether it takes messages."""
        for name, path in (("DEFAULT", PATH), ("ENGINEERS", ENGINEERS_PATH)):
            there = self.slack.connection(path if up else "/services/revoked")
            self.patch.setenv(f"AIRFLOW_CONN_SLACK_{name}", there)

    def lives(self, run_id: str, step: Step) -> None:
        """One step of a run, to its end."""
        if step is Step.BY_HAND:
            decided = publications.decide(self.ops, publications.PUBLISH, run_id, "ada", "the double is known")
            with self.ops.cursor() as cursor:
                publications.note(cursor, run_id, "analytics", as_of=None, decision=decided, notes=[])
            decision.tell(decided)
            return
        begun = datetime.now(UTC)
        attempt = self.tries[run_id] = self.tries.get(run_id, 0) + 1
        runs.begin(self.ops, run_id, "release")
        runs.note_begun(self.ops, run_id, begun)
        node_results.record(self.ops, run_id, "build", attempt, [*BUILT, BROKEN if step in FAILURES else WELL])
        self.states[run_id] = {"build": "failed", "publish": "upstream_failed"}
        if step not in FAILURES:
            self.states[run_id] = {"build": "success", "publish": "success"}
            with self.ops.cursor() as cursor:
                publications.note(cursor, run_id, "analytics", as_of=None, decision=None, notes=[])
        self.ended.add(run_id)
        if step not in UNTOLD:
            context: Any = {"run_id": run_id, "dag": SimpleNamespace(dag_id="greenery_daily"), "ti": self._instance()}
            with set_current_context(context | {"dag_run": SimpleNamespace(start_date=begun)}):
                report.report.function()
            report.report_backstop(context | {"dag_run": SimpleNamespace(start_date=begun)})

    def watched(self) -> None:
        """The watchdog's task looks, as it does every few minutes."""
        report.tell_of_ended({"ti": self._instance()}, datetime.now(UTC))
        with connect() as connection:
            send.send_waiting(connection)

    def _instance(self) -> SimpleNamespace:
        return SimpleNamespace(
            try_number=1,
            max_tries=3,
            get_task_states=lambda *, run_ids, **_: {run_ids[0]: self.states[run_ids[0]]},
            get_dr_count=lambda *, run_ids, **_: int(run_ids[0] in self.ended),
            xcom_pull=lambda **_: None,
        )

    def read(self) -> list[str]:
        """What stakeholders were told, the last one last."""
        return [_text(one) for one in self.slack.accepted]

    def details(self) -> list[str]:
        """What engineers were told."""
        return [_text(one) for one in self.slack.engineers]


def _text(message: dict[str, Any]) -> str:
    return f"{message['text']}\n{json.dumps(message['blocks'], ensure_ascii=False)}"


@pytest.fixture
def story(db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    """A warehouse in which nothing has run so far."""
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    make_release("release", json.dumps(asdict(FACTS)))
    with slack_server() as slack:
        yield Story(db, slack, monkeypatch)


def lived(story: Story, way: tuple[Step, ...], around: Around) -> None:
    """All steps of one run, until Slack has taken what there is to tell."""
    story.slack_is_up(around is not Around.SLACK_IS_DOWN)
    for step in way:
        story.lives("run", step)
        if around is Around.WATCHED:
            story.watched()
    story.slack_is_up(True)
    for _ in range(2):  # what was told is not told again
        story.watched()


def is_live(way: tuple[Step, ...]) -> Step | None:
    """How what people query was published; None before the first time."""
    made = [step for step in way if step not in FAILURES]
    return made[-1] if made else None


def check_what_is_read(story: Story, way: tuple[Step, ...], around: Around) -> None:
    """What stakeholders read last is true, nothing stands there twice, and engineers know what failed."""
    *_, last = story.read()
    headline, live = last.splitlines()[0], is_live(way)
    if way[-1] in FAILURES:
        assert headline == "🔴 Greenery data: no new data"
        assert ("Nothing has been published yet." in last) == (live is None)
        assert ("You still see the data as of" in last) == (live is not None)
    elif way[-1] is Step.BY_HAND:
        waited = way[-2] is Step.FAILED_UNTOLD and around is not Around.WATCHED
        told = "data was published by hand" if waited else "data: published by hand"
        assert headline == f"✋ Greenery {told}"
    else:
        assert headline == "✅ Greenery data is up to date"
    assert ("ublished by hand by ada" in last) == (live is Step.BY_HAND)
    for told in (story.read(), story.details()):
        assert [one for one, other in pairwise(told) if one == other] == []
    # What failed untold and was followed by something else before the watchdog looked is no news any more.
    latest = way[-2:] if way[-1] is Step.BY_HAND else way[-1:]
    told_of = {Step.FAILED, *(FAILURES if around is Around.WATCHED else ())}
    heard = told_of & {*way} or {*FAILURES} & {*latest}
    assert any("fact_unique" in one for one in story.details()) == bool(heard)
    decided = [one for one in story.read() if one.startswith("✋ Greenery data: published by hand")]
    assert len(decided) == way.count(Step.BY_HAND)


def is_long(way: tuple[Step, ...], around: Around) -> bool:
    """Whether it is left to `make torture`."""
    return len(way) > 2 or around is not Around.NOTHING


TABLE = [
    pytest.param(way, around, id=f"{', '.join(way)}; {around}", marks=[pytest.mark.torture] * is_long(way, around))
    for length in (1, 2, 3)
    for way in ways(length)
    for around in Around
]


@pytest.mark.parametrize(("way", "around"), TABLE)
def test_what_is_read_last_is_true_and_so_is_what_the_next_run_says(
    story: Story, way: tuple[Step, ...], around: Around
) -> None:
    lived(story, way, around)
    check_what_is_read(story, way, around)
    broken = next(step for step in reversed(way) if step is not Step.BY_HAND) in FAILURES
    # A failure that ends at a publish, and one that nobody has ended.
    story.lives("next", Step.FAILED)
    *_, failed = story.details()
    assert ("known since" in failed) == broken
    assert ("(new)" in failed) != broken
    story.lives("next but one", Step.PUBLISHED)
    *_, well = story.details()
    assert re.search(f"Resolved after [^:]*: {TITLE}", well)
    story.watched()
    assert story.details()[-1] == well
    assert "New data again after" in story.read()[-1]


@pytest.mark.parametrize(("way", "around"), TABLE)
def test_a_next_run_that_publishes_says_fixed_where_what_failed_passes_now(
    story: Story, way: tuple[Step, ...], around: Around
) -> None:
    lived(story, way, around)
    story.lives("next", Step.PUBLISHED)
    *_, well = story.details()
    assert (TITLE in well) == (next(step for step in reversed(way) if step is not Step.BY_HAND) in FAILURES)
    assert ("New data again after" in story.read()[-1]) == (way[-1] in FAILURES)
    assert story.read()[-1].startswith("✅ Greenery data is up to date")
