"""Simulated lives of a shop: each drawn from its seed, lived for real, and looked at from outside.

`make torture SEED=7` lives the seventh again, and cuts it down where it fails; `SEEDS=500` lives as many, of `DAYS=30`.
A life of fewer days is how a longer one begins.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.dbt.conftest import KeptShop
from tests.dbt.days import Project
from tests.dbt.lives.cut_down import cut_down
from tests.dbt.lives.life import Cleared, Edited, Killed, Life, Load, Mended, Run, draw
from tests.dbt.lives.player import Versions, World
from tests.slack_server import slack_server

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


def is_lived(world: World, life: Life) -> None:
    """Every rule holds; where one doesn't, the shortest life that shows so is printed."""
    broken, _ = world.live(life)
    if broken:
        rule = broken.rule

        def fails(shorter: Life) -> bool:
            other, _ = world.live(shorter)
            return other is not None and other.rule == rule

        shortest = cut_down(life, fails)
        pytest.fail(f"{broken}\nof {life}\ncut down to\n{shortest}", pytrace=False)


# The commit of the task `publish` that is the exchange's.
PUBLISHES = 7


def test_a_short_life_in_which_a_run_is_killed_once_it_has_published(world: World) -> None:
    """And is cleared: the order and the faults are these, whatever seeds draw."""
    killed = Killed("publish", at=PUBLISHES, heard=True, tries_again=False)
    is_lived(world, Life(0, few=True, tested=False, days=((Edited(5, 8), Run(killed)), (Load(), Cleared()))))


HARM = {
    "what people query changes by a publish alone": "update analytics.fact_orders set units = units + 1",
    "no order's history shrinks": "delete from snapshots.orders_snapshot where dbt_valid_to is not null",
    "nothing is left over": "insert into ops.leases (holder) values ('run 2')",
}


@pytest.mark.parametrize("rule", HARM)
def test_what_is_done_behind_everybody_s_back_breaks_a_rule(world: World, rule: str) -> None:
    life = Life(0, few=True, tested=False, days=((Mended(),),))
    broken, _ = world.live(life, before_it=lambda shop: shop.query(HARM[rule]))
    assert broken
    assert broken.rule == rule


@pytest.mark.torture
@pytest.mark.parametrize("seed", SEEDS)
def test_torture_of_a_life(world: World, seed: int) -> None:
    is_lived(world, draw(seed, DAYS))
