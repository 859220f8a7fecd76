"""`make prove`: on the local warehouse where its shop has a past, else on a demo shop played for it.

That one has a Postgres of its own, which is gone afterwards. Each day is loaded, and observed as the daily run does it
on the next morning; the marts are built once, after the last day.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from dbt.cli.main import dbtRunner
from psycopg2.extensions import connection as Connection

from include import words
from include.daily import buffers
from include.dbt_project import manifest, release
from include.dbt_project.manifest import Manifest
from include.demo_shop import demo
from include.fast_cosmos.releases import ProjectError
from include.local import guard, postgres, warehouse
from include.local.progress import Progress
from include.local.stack import Stack
from include.publish.exchange import exchange
from include.results import runs
from include.settings import BUILT, PROJECT_ROOT
from include.unusual import prove
from include.unusual.find import find
from include.unusual.observe import observe
from include.warehouse import connect, migrate

NAME = "proof"
DAYS, ORDERS_PER_DAY = 160, 500
_PROJECT = PROJECT_ROOT / "dbt"
# Tests of the data hold back no figure here: what they would say is not the question.
_BUILD = ("build", "--select", "path:models", "path:snapshots", "--exclude-resource-type", "test", "unit_test")


def run(stack: Stack, arguments: Sequence[str]) -> int:
    """Prove it and print what came of it; the exit code is 0 where what is to be reached is reached."""
    parser = argparse.ArgumentParser(prog="make prove", description=__doc__)
    parser.add_argument("--seed", type=int, default=prove.SEED, help="another one: other days, and another demo shop")
    parser.add_argument("--demo", action="store_true", help="a demo shop, whatever the warehouse holds")
    parser.add_argument(
        "--days", type=int, help="no faults: a demo shop of so many days, each built, judged and published by itself"
    )
    options = parser.parse_args(arguments)
    if options.days:
        return _days_without_a_fault(stack.progress, options.seed, options.days)
    if not options.demo and (stack.home / "postgres" / "PG_VERSION").exists():
        with stack.session() as server:
            os.environ.update(warehouse.as_transformer(server).environment())
            facts = manifest.read(release.refresh().manifest)
            try:
                with connect("greenery proof") as connection:
                    proof = prove.prove(connection, facts, seed=options.seed)
                    prove.keep(connection, proof)
                return _tell(proof, facts)
            except prove.ProofError as error:
                stack.progress.say(f"{error} Until then a demo shop stands for it.")
    return _on_a_demo_shop(stack.progress, options.seed)


def _on_a_demo_shop(progress: Progress, seed: int) -> int:
    with _warehouse() as shop:
        with progress.step(f"Playing {DAYS} days of a demo shop, each of them observed"):
            for day, morning in shop.play(DAYS, seed, ORDERS_PER_DAY):
                observe(shop.connection, f"day {day}", shop.facts, morning)
        with progress.step("Building its marts"):
            shop.build(f"day {DAYS}")
        with progress.step("Planting faults"):
            proof = prove.prove(shop.connection, shop.facts, marts=BUILT, seed=seed)
    return _tell(proof, shop.facts)


def _tell(proof: prove.Proof, facts: Manifest) -> int:
    print(prove.told(proof, facts))
    return 0 if proof.is_enough else 1


def _days_without_a_fault(progress: Progress, seed: int, days: int) -> int:
    """What a shop without a fault is told day by day: 0 where that is no more than may be said in a quarter."""
    said = 0
    with _warehouse() as shop, progress.step(f"{days} days of a demo shop, each built, judged and published"):
        for day, morning in shop.play(days, seed, demo.ORDERS_PER_DAY):
            shop.build(f"day {day}")
            observe(shop.connection, f"day {day}", shop.facts, morning)
            found = [one for one in find(shop.connection, f"day {day}", shop.facts, ()) if one.because is None]
            shop.publish(f"day {day}")
            said += bool(found)
            for one in found:
                print(f"day {day}: {prove.sentence(one, shop.facts)}", flush=True)
    print(f"{words.count(days, 'day')} without a fault, {said} of them said to be unusual.")
    return 0 if said <= prove.MOST_ALARMS else 1


@dataclass(frozen=True)
class _Shop:
    """A demo shop on a Postgres of its own, and what its marts are built with."""

    connection: Connection
    facts: Manifest
    parsed: object
    flags: list[str]

    def play(self, days: int, seed: int, orders_per_day: int) -> Iterator[tuple[int, datetime]]:
        """Load days, the last of them yesterday; after each, its number and the morning on which it is built."""
        first = datetime.now(UTC).date() - timedelta(days)
        for day in range(1, days + 1):
            demo.play_day(self.connection, day, seed=seed, orders_per_day=orders_per_day, first_day=first)
            runs.begin(self.connection, f"day {day}", NAME)
            self.connection.commit()
            yield day, datetime.combine(first + timedelta(day), time(6), UTC)
            self.connection.commit()

    def build(self, run_id: str) -> None:
        """Build the marts, and the snapshots."""
        buffers.begin(self.connection, run_id, full_refresh=False)
        self.connection.commit()
        done = dbtRunner(manifest=self.parsed).invoke([*_BUILD, "--quiet", *self.flags])
        if not done.success:
            raise ProjectError(f"dbt could not build the marts: {done.exception or 'its output says why'}")

    def publish(self, run_id: str) -> None:
        """Exchange the schemas, without the gate: no test has run, and the day is observed already."""
        self.connection.commit()
        exchange(run_id, buffers.current(self.connection))


@contextmanager
def _warehouse() -> Iterator[_Shop]:
    """An empty warehouse, which the environment names meanwhile and which is gone afterwards."""
    with guard.folder("greenery-proof-") as work, postgres.serving(work / "postgres", {"fsync": "off"}) as server:
        postgres.ensure_database(server, NAME)
        where = server.database(NAME)
        os.environ.update(where.environment())
        migrate.upgrade(where)
        flags = [
            *("--project-dir", str(_PROJECT), "--profiles-dir", str(_PROJECT)),
            *("--target-path", str(work / "target"), "--log-path", str(work / "logs")),
        ]
        parsed = dbtRunner().invoke(["--quiet", "parse", *flags])
        if not parsed.success:
            raise ProjectError(f"dbt could not parse the project: {parsed.exception or 'its output says why'}")
        with connect("greenery proof") as connection:
            yield _Shop(connection, manifest.read(work / "target" / "manifest.json"), parsed.result, flags)
