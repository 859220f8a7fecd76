"""Lives on a real scheduler: of every twenty one, of four days at most. They are not cut down: a day takes minutes.

`make torture SEED=7 ARGS='-k life_on_a_scheduler'` lives the seventh again, and `DAYS=2` behind it the one of two days.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

import pytest

from include.local import warehouse
from tests.dbt.lives import lived
from tests.dbt.lives.life import Cleared, Decided, Edited, Life, Load, Run, Upgraded, draw
from tests.dbt.lives.on_a_scheduler import DeployedShop, DeployedVersions, DeployedWorld, LivingOnAScheduler
from tests.dbt.lives.test_lives import DAYS, MORE_UNITS, ONE, SEEDS
from tests.dbt.lives.wire import wired
from tests.deployment import deployed
from tests.forks import Forks

pytestmark = [pytest.mark.db, pytest.mark.stack, pytest.mark.torture]

MOST_DAYS = 4
OF_LIVES = 20


@pytest.fixture(scope="module")
def world(dbts: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedWorld]:
    """A deployment of its own, whose processes go by the wire, and on which two days have been run."""
    with (
        wired() as wire,
        deployed(dbts, wire=wire) as deployment,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("GREENERY_STATE_DIR", str(deployment.stack.home))
        for key, value in warehouse.as_admin(deployment.server).environment().items():
            environment.setenv(key, value)
        versions = DeployedVersions(deployment, tmp_path_factory.mktemp("reference"))
        shop = DeployedShop(deployment)
        yield DeployedWorld(shop, versions, deployment.slack, wire)
        shop.connection.close()


@pytest.mark.parametrize("seed", SEEDS if ONE else range(1, max(1, len(SEEDS) // OF_LIVES) + 1))
def test_torture_with_a_life_on_a_scheduler(world: DeployedWorld, seed: int) -> None:
    life, began = draw(seed, min(DAYS, MOST_DAYS), whole=True), monotonic()
    broken, tally = world.live(life)
    lived.of(life, lived.ON_A_SCHEDULER, monotonic() - began, tally, broken.rule if broken else "").note()
    assert broken is None, f"{broken}\nof {life}"


# What few of these lives would come to: a hold that ends, publishes by hand, upgrades, and a report that never runs.
SELDOM = Life(
    0,
    few=False,
    tested=True,
    days=(
        (Load(), Decided("hold"), Run(), Decided("publish"), Decided("release"), Upgraded(), Cleared()),
        (Edited(3, 4), Run(tells="callback"), Upgraded(), Cleared()),
    ),
)


def test_what_lives_seldom_come_to_on_a_scheduler(world: DeployedWorld) -> None:
    broken, tally = world.live(SELDOM)
    assert broken is None, f"{broken}"
    # The run that was held back, that of the callback, and both once more.
    seen = {name: tally[name] for name in ("publish failed", "runs timed out", "publish skipped", "publish success")}
    assert seen == {"publish failed": 1, "runs timed out": 1, "publish skipped": 1, "publish success": 2}


def test_harm_behind_everybody_s_back_on_a_scheduler_breaks_a_rule(
    world: DeployedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LivingOnAScheduler, "take_effect", lambda living, _: living.shop.query(MORE_UNITS))
    broken, _ = world.live(Life(0, few=False, tested=True, days=((Decided("release"),),)))
    assert broken
    assert broken.rule == "what people query changes by a publish alone"
