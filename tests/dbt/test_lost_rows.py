"""What raw has lost since people last got a publish holds the next one, until somebody says that it is right."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from include.answers import answers
from include.answers.answer import About, Kind
from include.publish.publish import publish_run
from include.results import failures
from include.results.failures import RunContext
from include.results.nodes import from_dbt
from include.results.record import failing_rows
from include.warehouse import connect
from tests.dbt.conftest import KeptShop
from tests.dbt.days import NOTHING_TO_PROVE, Project
from tests.dbt.edits import Tables, deliver, replica
from tests.dbt.test_publishing import Runs

pytestmark = pytest.mark.db

KEEPS = "source_keeps_most_rows_greenery_events_"
FILLED = "source_filled_for_most_greenery_events_"


class Losses(Runs):
    """A shop of some hundred events, in both buffers: `sound` is what it holds, `events` so many were published."""

    def __init__(self, shop: KeptShop, project: Project) -> None:
        super().__init__(shop, project, seed=1)
        self.fill_both_buffers("a_few")
        self.sound: Tables = replica(shop.connection)
        self.events = shop.query(
            "select rows from ops.rows_of_raw where table_name = 'events' order by publication_id desc limit 1"
        )[0][0]
        assert self.events >= 200

    def lose(self, left: int) -> None:
        """All events but some."""
        deliver(self.shop.connection, self.sound | {"events": self.sound["events"][:left]})

    def found(self) -> dict[str, str]:
        """What the tests of losses find as a run begins, by their names, as a message says it."""
        self.begin()
        told = {}
        for one in from_dbt(
            self.project.results("test", "--select", "source_keeps_most_rows_*", "source_filled_for_most_*")
        ):
            if one.status != "pass":
                rows = failing_rows(self.shop.connection, one, self.facts.personal_columns)
                said = failures.failure(replace(one, failing_rows=rows), self.facts, RunContext(None, {}, {}))
                told[one.name] = f"{said.measured}; {said.wanted}; {[*said.rows]}"
        return told


@pytest.fixture
def losses(shop: KeptShop, projects: Project) -> Losses:
    """On its third day."""
    return Losses(shop, projects)


def test_a_lost_half_of_a_table_is_found_until_it_is_there_again_or_published(losses: Losses) -> None:
    left = (losses.events - 1) // 2
    losses.lose(left)
    assert losses.found() == {
        KEEPS: (
            "less than half as many rows as when data was last published; expected at least half. If that is right:"
            f" `mute {KEEPS} --waives` (docs/runbook.md), then clear check_sources; "
            f"[{{'rows_now': '{left}', 'rows_before': '{losses.events}'}}]"
        )
    }
    losses.lose(losses.events)
    assert losses.found() == {}
    losses.lose(left)
    losses.begin()
    losses.build()
    assert publish_run(losses.run_id, NOTHING_TO_PROVE)
    assert losses.found() == {}


def test_what_is_half_as_many_or_was_few_is_no_loss(losses: Losses) -> None:
    assert 0 < len(losses.sound["products"]) < 200
    losses.sound["products"].clear()
    losses.lose((losses.events + 1) // 2)
    assert losses.found() == {}


def test_a_column_that_most_new_rows_have_lost_is_found_by_the_kind_of_row(losses: Losses) -> None:
    for event in losses.sound["events"]:
        if event["event_type"] == "page_view":
            event["page_url"] = None
    losses.lose(len(losses.sound["events"]))
    told = losses.found()
    assert told.keys() == {FILLED}
    assert "1 column empty for most new rows: page_url: a value in 0 of" in told[FILLED]
    assert "new rows (page_view); expected a value in most, as before" in told[FILLED]


@pytest.mark.torture
def test_a_loss_holds_the_publish_until_somebody_lets_it_through(losses: Losses) -> None:
    losses.lose((losses.events - 1) // 2)
    assert not losses.whole()
    losses.is_refused("not as this run built them")
    with connect() as connection:
        test = next(one.unique_id for one in losses.facts.data_tests if one.name == KEEPS)
        answers.give(connection, Kind.MUTE, About(test), "ada", "moved", datetime.now(UTC).date(), waives=True)
    losses.begin()
    assert not losses.check_sources()
    assert losses.build_and_test(*losses.models, "--exclude", "source:greenery")  # as tasks, which do so apart
    assert publish_run(losses.run_id, losses.facts)
    assert losses.found() == {}
