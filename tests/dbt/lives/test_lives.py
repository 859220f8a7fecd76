"""Simulated lives of a shop: each drawn from its seed, lived for real, and looked at from outside.

`make torture SEED=7` lives the seventh again, and cuts it down where it fails; `SEEDS=500` lives as many.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.dbt.conftest import KeptShop
from tests.dbt.days import Project
from tests.dbt.lives.cut_down import cut_down
from tests.dbt.lives.life import Life, draw
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


@pytest.mark.torture
@pytest.mark.parametrize("seed", SEEDS)
def test_torture_of_a_life(world: World, seed: int) -> None:
    is_lived(world, draw(seed, DAYS))
