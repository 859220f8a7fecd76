"""Simulated lives of a shop: each drawn from its seed, lived for real, and looked at from outside.

`make torture SEED=7` lives the seventh again, and cuts it down where it fails; `SEEDS=500` lives as many, of `DAYS=30`.
A life of fewer days is how a longer one begins.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic

import psycopg2
import pytest

from include.publish import exchange
from include.publish.gate import NotPublishedError
from include.warehouse import connect
from tests.dbt.conftest import KeptShop
from tests.dbt.days import Project
from tests.dbt.lives import lived
from tests.dbt.lives.cut_down import cut_down
from tests.dbt.lives.life import (
    Cleared,
    Decided,
    Edited,
    Held,
    Killed,
    Life,
    Load,
    Muted,
    Run,
    Spoilt,
    Step,
    Waited,
    draw,
)
from tests.dbt.lives.lived import Lived
from tests.dbt.lives.player import Living, World
from tests.dbt.lives.versions import Versions
from tests.slack_server import slack_server
from tests.waiting import wait_for

pytestmark = pytest.mark.db

DAYS = int(os.environ.get("DAYS", "30"))
ONE = os.environ.get("SEED")
SEEDS = [int(ONE)] if ONE else range(1, int(os.environ.get("SEEDS", "1")) + 1)


@pytest.fixture(scope="module")
def world(shop: KeptShop, projects: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A warehouse, the project, and a Slack that takes what Slack takes."""
    with pytest.MonkeyPatch.context() as environment, slack_server() as slack:
        environment.setenv("GREENERY_STATE_DIR", str(tmp_path_factory.mktemp("lives")))
        environment.setenv("GREENERY_SLACK_TIMEOUT_SECONDS", "5")
        environment.setenv("AIRFLOW_CONN_SLACK_DEFAULT", slack.connection())
        yield World(shop, Versions(projects), slack)


def is_lived(world: World, life: Life, note: Callable[[Lived], None] = lambda _: None) -> Counter[str]:
    """Every rule holds; where one doesn't, the shortest life that shows so is printed. Returns what there was in it.

    `note` is told of it, and once more where it was cut down.
    """
    began = monotonic()
    broken, tally = world.live(life)
    ended = lived.of(life, lived.ALONE, monotonic() - began, tally, broken.rule if broken else "")
    note(ended)
    if broken:
        shortest = cut_down(life, breaks(world, broken.rule))
        note(replace(ended, shortest=str(shortest)))
        pytest.fail(f"{broken}\nof {life}\ncut down to\n{shortest}", pytrace=False)
    return tally


def breaks(world: World, rule: str) -> Callable[[Life], bool]:
    """Whether a life breaks this rule first."""

    def fails(life: Life) -> bool:
        broken, _ = world.live(life)
        return broken is not None and broken.rule == rule

    return fails


# The commit of the task `publish` that is the exchange's.
PUBLISHES = 6


def test_a_short_life_in_which_a_run_is_killed_once_it_has_published(world: World) -> None:
    """And is cleared: the order and the faults are these, whatever seeds draw."""
    killed = Killed("publish", at=PUBLISHES, heard=True, tries_again=False)
    tally = is_lived(world, Life(0, few=True, tested=False, days=((Edited(5, 8), Run(killed)), (Load(), Cleared()))))
    assert (tally["publish failed"], tally["publish success"]) == (1, 1)
    # Two of before, that of the run that was killed, and of the same when it was cleared.
    assert world.shop.value("select count(*) from ops.publications") == 4


UNDISTURBED = (Edited(5, 8), Run())
# Which is refused: nobody holds anything back.
NOTHING = Decided("release")
RECEIPT = "no figure told lost its receipt"
MESSAGE = "every run ends in one message that says what is true"
LEFT_OVER = "nothing is left over"

MORE_UNITS = "update analytics.fact_orders set units = units + 1"
# Done behind everybody's back once somebody has decided: by what it is done to, how, on which day, and the rule.
HARM: dict[str, tuple[str, tuple[Step, ...], str]] = {
    "a mart": (MORE_UNITS, (NOTHING,), "what people query changes by a publish alone"),
    "what was brought back": (MORE_UNITS, (Decided("roll back"),), "a rollback brings back what was"),
    "a version": (
        "delete from snapshots.orders_snapshot where dbt_valid_to is not null",
        (NOTHING,),
        "no order's history shrinks",
    ),
    "a lease": ("insert into ops.leases (holder) values ('run 2')", (NOTHING,), LEFT_OVER),
}
HARM_TO_FIGURES: dict[str, tuple[str, tuple[Step, ...], str]] = {
    "a figure": ("delete from ops.metrics", (Run(), NOTHING), RECEIPT),
    "what was told": ("delete from ops.told", (Run(), NOTHING), RECEIPT),
}


@pytest.mark.parametrize("to", [*HARM, *(pytest.param(one, marks=pytest.mark.torture) for one in HARM_TO_FIGURES)])
def test_harm_behind_everybody_s_back_breaks_a_rule(world: World, monkeypatch: pytest.MonkeyPatch, to: str) -> None:
    harm, day, rule = (HARM | HARM_TO_FIGURES)[to]
    decide = Living._decide

    def decided(self: Living, action: str) -> None:
        decide(self, action)
        self.shop.query(harm)

    monkeypatch.setattr(Living, "_decide", decided)
    broken, _ = world.live(Life(0, few=to in HARM, tested=False, days=(day,)))
    assert broken
    assert broken.rule == rule


def says_nothing(*_: object, **__: object) -> None:
    pass


def says_all_is_well(*_: object) -> str:
    return "✅ Greenery data is up to date"


def fails(*_: object, **__: object) -> None:
    raise psycopg2.OperationalError("no load today")


def refuses(*_: object, **__: object) -> None:
    raise NotPublishedError("not today")


def publishes_in_two_steps(*asked: object, **how: object) -> object:
    with connect("a test") as connection, connection.cursor() as cursor:
        cursor.execute(MORE_UNITS)
        connection.commit()
        connection.autocommit = True
        cursor.execute("select clock_timestamp()")
        since = cursor.fetchone()

        def is_read() -> bool:
            seen = "select true from pg_stat_activity where query like '%%as joined%%' and query_start > %s"
            cursor.execute(seen, since)
            return cursor.fetchone() is not None

        wait_for(is_read, "a reader reads")
    return exchange.exchange(*asked, **how)


def leaves_a_schema(*asked: object, **how: object) -> object:
    with connect("a test") as connection, connection.cursor() as cursor:
        cursor.execute("create schema left_over")
        connection.commit()
    return exchange.exchange(*asked, **how)


# Our own code broken once for each rule: what is broken, by what, the day on which that shows, and the rule.
BROKEN_CODE: dict[str, tuple[str, Callable[..., object], tuple[Step, ...], str]] = {
    "a message that lies": ("include.slack.render._headline", says_all_is_well, (Run(Held()),), MESSAGE),
    "a decision that nobody tells": (
        "include.publish.by_hand.tell",
        says_nothing,
        (Decided("hold"),),
        "every decision is told",
    ),
    "a load that fails": ("include.demo_shop.demo.play_day", fails, (Load(),), "a step is taken"),
    "a publish that refuses": (
        "include.publish.publish.publish_run",
        refuses,
        UNDISTURBED,
        "what nothing disturbs is published",
    ),
    "a publish in two steps": (
        "include.publish.publish.exchange",
        publishes_in_two_steps,
        UNDISTURBED,
        "no reader sees a mix or an error",
    ),
    "a mute that is over and that nobody hears of": (
        "include.results.answered.answers.passed_since",
        lambda *_: (),
        (Spoilt(3), Run(), Muted(1), Waited(8), Run()),
        "a mute that is over is told",
    ),
    "a schema that stays": ("include.publish.publish.exchange", leaves_a_schema, UNDISTURBED, LEFT_OVER),
}


@pytest.mark.torture
@pytest.mark.parametrize("what", BROKEN_CODE)
def test_what_our_code_does_wrong_breaks_a_rule(world: World, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    name, wrong, day, rule = BROKEN_CODE[what]
    world.live(Life(0, few=True, tested=False, days=()))  # what each begins with is made by code that is sound
    monkeypatch.setattr(name, wrong)
    tested = any(isinstance(step, Spoilt) for step in day)
    broken, _ = world.live(Life(0, few=True, tested=tested, days=(day,)))
    assert broken
    assert broken.rule == rule


@pytest.mark.torture
def test_rows_that_go_and_that_no_model_hears_of_are_found_and_the_life_is_cut_down(world: World) -> None:
    manifest, name = world.versions.project.manifest, "macro.greenery.changed_values"
    code = manifest.macros[name].macro_sql
    deaf = code.replace("where table_name = '{{ table }}'", "where false")
    assert deaf != code
    macros = {**manifest.macros, name: replace(manifest.macros[name], macro_sql=deaf)}
    # dbt looks macros up in what it made of them before, unless that is gone.
    changed = replace(manifest, macros=macros, _macros_by_name=None, _macros_by_package=None)
    changed.build_flat_graph()
    project = Project(world.versions.project.project, world.versions.project.work, changed)
    others = World(world.shop, Versions(project), world.slack)

    days = ((Load(), Run()), (Muted(3), Edited(5, 12), Run()), (Decided("hold"), Decided("release"), Run()))
    life = Life(0, few=True, tested=False, days=days)
    broken, _ = others.live(life)
    assert broken
    assert broken.rule == "what is published is a full build of one moment of raw"
    shortest = cut_down(life, breaks(others, broken.rule))
    assert [type(step) for day in shortest.days for step in day] == [Edited, Run]


@pytest.mark.torture
@pytest.mark.parametrize("seed", SEEDS)
def test_torture_of_a_life(world: World, seed: int) -> None:
    is_lived(world, draw(seed, DAYS), Lived.note)
