"""`make prove`: on the local warehouse where its shop has a past, else on a demo shop played for it.

That one has a Postgres of its own, which is gone afterwards. Each day is loaded, and observed as the daily run does it
on the next morning; the marts are built once, after the last day.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from dbt.cli.main import dbtRunner
from psycopg2.extensions import connection as Connection

from include.daily import buffers
from include.dbt_project import manifest, release
from include.dbt_project.manifest import Manifest
from include.demo_shop import demo
from include.fast_cosmos.releases import ProjectError
from include.local import postgres, warehouse
from include.local.progress import Progress
from include.local.stack import Stack
from include.publish.publish import publish_run
from include.results import runs
from include.settings import PROJECT_ROOT
from include.unusual import prove
from include.unusual.observe import observe
from include.warehouse import connect, migrate

NAME = "proof"
DAYS, ORDERS_PER_DAY = 160, 500
_PROJECT = PROJECT_ROOT / "dbt"
# Tests of the data hold back no figure here: what they would say is not the question.
_BUILD = ("build", "--select", "path:models", "path:snapshots", "--exclude-resource-type", "test", "unit_test")
_NOTHING_TO_PROVE = Manifest({}, {})


def run(stack: Stack, arguments: Sequence[str]) -> int:
    """Prove it and print what came of it; the exit code is 0 where what is to be reached is reached."""
    parser = argparse.ArgumentParser(prog="make prove", description=__doc__)
    parser.add_argument("--seed", type=int, default=prove.SEED, help="another one: other days, and another demo shop")
    parser.add_argument("--demo", action="store_true", help="a demo shop, whatever the warehouse holds")
    options = parser.parse_args(arguments)
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
    with demo_shop(stack.progress, options.seed) as (connection, facts), stack.progress.step("Planting faults"):
        proof = prove.prove(connection, facts, seed=options.seed)
    return _tell(proof, facts)


def _tell(proof: prove.Proof, facts: Manifest) -> int:
    print(prove.told(proof, facts))
    return 0 if proof.is_enough else 1


@contextmanager
def demo_shop(progress: Progress, seed: int, days: int = DAYS) -> Iterator[tuple[Connection, Manifest]]:
    """A demo shop up to yesterday, on a Postgres that is gone afterwards: a connection to it, its project's manifest.

    The environment names it meanwhile.
    """
    work = Path(tempfile.mkdtemp(prefix="greenery-proof-"))
    work.chmod(0o755)
    server = None
    try:
        server = postgres.start(work / "postgres", settings={"fsync": "off"})
        postgres.ensure_database(server, NAME)
        where = server.database(NAME)
        os.environ.update(where.environment())
        migrate.upgrade(where)
        flags = _flags(work)
        parsed = dbtRunner().invoke(["--quiet", "parse", *flags])
        if not parsed.success:
            raise ProjectError(f"dbt could not parse the project: {parsed.exception or 'its output says why'}")
        facts = manifest.read(work / "target" / "manifest.json")
        with connect("greenery proof") as connection:
            with progress.step(f"Playing {days} days of a demo shop, each of them observed"):
                _play(connection, facts, days, seed)
            with progress.step("Building its marts"):
                _build(connection, parsed.result, flags)
            yield connection, facts
    finally:
        if server:
            postgres.stop(server.data)
        shutil.rmtree(work, ignore_errors=True)


def _play(connection: Connection, facts: Manifest, days: int, seed: int) -> None:
    first = datetime.now(UTC).date() - timedelta(days)
    for day in range(1, days + 1):
        demo.play_day(connection, day, seed=seed, orders_per_day=ORDERS_PER_DAY, first_day=first)
        runs.begin(connection, f"day {day}", NAME)
        morning = datetime.combine(first + timedelta(day), time(6), UTC)
        observe(connection, f"day {day}", facts, morning)
        connection.commit()


def _build(connection: Connection, parsed: object, flags: list[str]) -> None:
    runs.begin(connection, "marts", NAME)
    buffers.begin(connection, "marts", full_refresh=True)
    connection.commit()
    done = dbtRunner(manifest=parsed).invoke([*_BUILD, "--quiet", *flags])
    if not done.success:
        raise ProjectError(f"dbt could not build the marts: {done.exception or 'its output says why'}")
    publish_run("marts", _NOTHING_TO_PROVE)


def _flags(work: Path) -> list[str]:
    return [
        *("--project-dir", str(_PROJECT), "--profiles-dir", str(_PROJECT)),
        *("--target-path", str(work / "target"), "--log-path", str(work / "logs")),
    ]
