"""A developer's own warehouse beside production's: what is built in it is one's own, all else is what is published.

    python -m include.branch --name ana
    python -m include.branch --name ana build fact_orders+
    python -m include.branch --name ana psql
    python -m include.branch list

`build` takes what `dbt --select` does, of the project as it is in its folder. Without a command it says how to use the
branch. A branch is a sandbox (`include.warehouse.sandbox`): nothing of it can write where others read, and one that
nobody has used for 14 days is dropped.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import replace

import psycopg2
from psycopg2.extensions import connection as Connection

from include import settings
from include.fast_cosmos.invocation import invoke
from include.fast_cosmos.releases import ProjectError
from include.local.progress import Progress
from include.preview import version
from include.preview.build import BuildError, Built, build
from include.preview.version import Version, VersionError, built_as, published_as
from include.results.nodes import NodeResult
from include.settings import Warehouse
from include.warehouse import connect, sandbox
from include.warehouse.login import at_a_shell
from include.warehouse.relation import Relation, readable
from include.warehouse.sandbox import BRANCH, Sandbox, SandboxError, Use
from include.words import count, duration, moment

_PURPOSE = "a developer's branch"


class BranchError(RuntimeError):
    """Nothing was built; the message says why and what to do."""


def main(arguments: list[str] | None = None) -> int:
    """Carry out one command; 0 where all is well, 1 where it was refused or something could not be built."""
    parser = argparse.ArgumentParser(
        prog="python -m include.branch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", help="what to call the branch: yourself, or what you work on")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("build", help="build models in it").add_argument("select", nargs="+", help="as dbt selects")
    commands.add_parser("psql", help="psql in it; takes psql's own arguments", add_help=False)
    commands.add_parser("drop", help="drop it with all that is in it")
    commands.add_parser("list", help="the sandboxes that there are")
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command != "psql":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if not options.name and options.command != "list":
        parser.error("which branch? Say --name ana (make branch NAME=ana)")
    progress = Progress()
    try:
        with connect("greenery branch", settings.warehouse_developer()) as connection:
            if options.command == "list":
                for use in sandbox.all_of(connection):
                    print(_line(use))
                return 0
            own = Sandbox(sandbox.name_of(BRANCH, options.name))
            match options.command:
                case "drop":
                    was_there = sandbox.drop(connection, own)
                    progress.say(f"{own.name} is dropped." if was_there else f"There is no {own.name}.")
                    return 0
                case "build":
                    sandbox.create(connection, own.name, _PURPOSE)
                    _tidy(connection, progress)
                    return _build(connection, own, options.select, progress)
            _visit(connection, own, progress)
            _tidy(connection, progress)
        if options.command == "psql":  # by now this session is over: who looks keeps nobody from building
            return _psql(own, rest)
        print(_how_to_use(own, options.name))
        return 0
    except (BranchError, SandboxError, VersionError, BuildError, ProjectError, ValueError) as refusal:
        progress.say(str(refusal))
    except psycopg2.Error as error:
        progress.say(f"The warehouse refused: {error}".strip())
    return 1


def _visit(connection: Connection, own: Sandbox, progress: Progress) -> None:
    """Make a branch, or note that it is used, also while a build is under way in it."""
    there = {use.sandbox: use for use in sandbox.all_of(connection)}
    if use := there.get(own):
        if use.by != at_a_shell(connection):
            progress.say(f"{own.name} was last used by {use.by}, on {moment(use.last_used)}.")
        sandbox.touch(connection, own)
    else:
        sandbox.create(connection, own.name, _PURPOSE)


def _tidy(connection: Connection, progress: Progress) -> None:
    for dropped in sandbox.drop_unused(connection):
        progress.say(f"{dropped.name} was not used for {sandbox.KEPT_FOR.days} days and is dropped.")


def _build(connection: Connection, own: Sandbox, select: list[str], progress: Progress) -> int:
    with progress.step("Reading the dbt project"):
        new = version.of_folder(own)
    selected = _selected(new, select)
    elsewhere = _elsewhere(connection, new, own, selected)
    connection.commit()  # for as long as it builds, this session holds the branch and nothing else
    built = build(new, own, selected, elsewhere, progress)
    print("\n".join(_lines(built)))
    read = {parent for one in built.results for parent in new.facts.parents(one)} - built.results.keys()
    if former := sorted(
        elsewhere[one].name for one in read if one in elsewhere and elsewhere[one].schema in own.schemas
    ):
        progress.say(f"Read from {own.name} as they were built before: {', '.join(former)}.")
    return 1 if any(one.status in ("error", "fail", "skipped") for one in built.results.values()) else 0


def _selected(new: Version, select: list[str]) -> list[str]:
    """Unique ids of what dbt selects, models, seeds and snapshots. Raises BranchError where that is nothing."""
    kinds = [part for kind in ("model", "seed", "snapshot") for part in ("--resource-type", kind)]
    wanted = ["ls", "--output", "json", "--output-keys", "unique_id", *kinds]
    done = invoke(new.release, [*wanted, *(f"--select={one}" for one in select)], hear=lambda _: None)
    if done.exception:
        raise BranchError(f"dbt does not understand {' '.join(select)}; nothing was built: {done.exception}")
    found = [json.loads(line)["unique_id"] for line in done.result or ()]
    if not found:
        raise BranchError(
            f"No model of the project in {settings.dbt_source_dir()} is selected by {' '.join(select)}; nothing was "
            "built. Name models as dbt's --select does, such as fact_orders+."
        )
    return found


def _elsewhere(connection: Connection, new: Version, own: Sandbox, selected: Collection[str]) -> dict[str, Relation]:
    """Where each model, seed and snapshot can be read: in the branch where it is built there, else where people do.

    What is built now does not go on from what was built before.
    """
    nodes = [*new.facts.models, *new.facts.snapshots]
    published = readable(connection, {one: published_as(new.facts, one, own) for one in nodes})
    built = {one: built_as(new.facts, one) for one in nodes if one not in selected}
    return published | readable(connection, built)


def _lines(built: Built) -> Iterator[str]:
    """What became of each node, a line each; of tests, those that say something."""
    results = sorted(built.results.values(), key=lambda one: (one.resource_type in ("test", "unit_test"), one.name))
    tests = [one for one in results if one.resource_type in ("test", "unit_test")]
    for one in results:
        if one.status not in ("pass", "success"):
            yield f"{one.status:8} {one.name}: {one.message or 'no reason is known'}"
        elif one not in tests:
            yield _of_model(one, built)
    passed = sum(one.status in ("pass", "success") for one in tests)
    yield f"{count(passed, 'test')} of {len(tests)} passed"


def _of_model(one: NodeResult, built: Built) -> str:
    relation = built.relations[one.unique_id]
    cost = built.costs.get(one.unique_id)
    rows = f", {count(cost.rows, 'row')}" if cost and cost.rows is not None else ""
    return f"built    {relation.schema}.{relation.name}{rows}, {duration(one.seconds)}"


def _libpq(own: Sandbox, where: Warehouse) -> dict[str, str]:
    """With these a name means one's own model where that is built, and the published one elsewhere."""
    path = ",".join((own.marts, own.staging, settings.LIVE))
    return where.libpq_environment() | {"PGOPTIONS": f"-c search_path={path}"}


def _psql(own: Sandbox, rest: list[str]) -> int:
    libpq = _libpq(own, settings.warehouse_developer())
    try:
        return subprocess.run(["psql", *rest], env={**os.environ, **libpq}).returncode
    except FileNotFoundError:
        raise BranchError("There is no psql on the PATH. Install PostgreSQL's client.") from None


def _how_to_use(own: Sandbox, given: str) -> str:
    """For a shell, which can read it as it is."""
    libpq = _libpq(own, replace(settings.warehouse_developer(), password=""))
    name = shlex.quote(given)
    return "\n".join(
        (
            f"# {own.name} is yours: what you build is in it, all else is read from what is published.",
            f"#   make branch NAME={name} ARGS='build fact_orders+'   builds models of your working tree in it",
            f"#   make branch NAME={name} ARGS=psql                   queries: your model where it is built",
            f"#   make branch NAME={name} ARGS=drop                   drops it; make branch ARGS=list lists all",
            "# For any other client of Postgres (the password is WAREHOUSE_DEVELOPER_PASSWORD):",
            *(f"export {variable}={shlex.quote(value)}" for variable, value in libpq.items()),
        )
    )


def _line(use: Use) -> str:
    return f"{use.sandbox.name:30}  last used {moment(use.last_used)} by {use.by}: {use.purpose}"


if __name__ == "__main__":
    sys.exit(main())
