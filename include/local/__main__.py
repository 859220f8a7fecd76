"""The commands behind `make`: demo, up, down, psql, branch, decide, answer, under-way, mcp, backup, masked, clean.

What was asked for goes to stdout, how far a command is and what to do next to stderr.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import httpx
import psycopg2

from include import settings
from include.demo_shop.demo import ShopError
from include.fast_cosmos.releases import ProjectError
from include.local import guard, postgres, warehouse
from include.local.airflow_api import AirflowApiError
from include.local.postgres import PostgresError
from include.local.stack import Stack, StackError
from include.raw.csv_loader import CsvError
from include.raw.load import LoadError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m include.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo", help="play two days of the demo shop, or what has gone by since; or the day that a folder of CSVs holds"
    )
    demo.add_argument("--data", type=Path, help="folder with the seven CSV files")
    commands.add_parser("up", help="start the stack and leave it running")
    commands.add_parser("down", help="stop it")
    commands.add_parser("psql", help="psql on the warehouse; takes psql's own arguments", add_help=False)
    commands.add_parser(
        "branch", help="a developer's own schemas; takes what `python -m include.branch` does", add_help=False
    )
    commands.add_parser(
        "decide", help="roll back, publish or hold by hand; takes what `python -m include.publish` does", add_help=False
    )
    commands.add_parser(
        "answer",
        help="mute, expect or take what you are told; takes what `python -m include.answers` does",
        add_help=False,
    )
    commands.add_parser(
        "under-way", help="who reads, waits and decided; takes what `python -m include.under_way` does", add_help=False
    )
    commands.add_parser(
        "mcp", help="answer machines; takes what `python -m plugins.data_health.mcp_server` does", add_help=False
    )
    commands.add_parser(
        "backup", help="save or restore the history; takes what `python -m include.backup` does", add_help=False
    )
    commands.add_parser(
        "masked",
        help="a copy without personal values: write it, or bring it in; takes what `python -m include.masked` does",
        add_help=False,
    )
    commands.add_parser(
        "prove", help="what would have been called unusual of the shop's past; its own --help says more", add_help=False
    )
    commands.add_parser(
        "preview",
        help="what a change of the dbt project would do; takes what `python -m include.preview` does",
        add_help=False,
    )
    commands.add_parser("clean", help="stop the stack and forget its state")
    options, rest = parser.parse_known_args(arguments)
    if rest and commands.choices[options.command].add_help:  # one without it passes on what it is given
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    guard.interrupt_once()
    stack = Stack(settings.state_dir())
    try:
        for ended in guard.end_what_was_left():
            stack.progress.say(ended)
        return _COMMANDS[options.command](stack, options)
    except _TOLD as error:
        stack.progress.say(str(error))
        return 1
    except (OSError, psycopg2.Error, httpx.HTTPError) as error:
        stack.progress.say(f"{type(error).__name__}: {error}\nThe logs in {stack.logs} say more.")
        return 1
    except KeyboardInterrupt:
        stack.progress.say("Stopped.")
        return 130


def _demo(stack: Stack, options: argparse.Namespace) -> int:
    # By hand only: a run of the cron's would come between the days.
    os.environ.setdefault("GREENERY_SCHEDULE", "")
    from include.local.demo import play

    published = play(stack, options.data.resolve() if options.data else None)
    if not published:
        stack.progress.say("Not published; mend what the message above names, then run the same command again.")
    if not stack.running():
        stack.progress.say("The stack is stopped. `make up` starts it again, with these runs in its UI.")
    return 0 if published else 1


def _up(stack: Stack, _: argparse.Namespace) -> int:
    from include.local.demo import begin

    with stack.session(keep=True) as server:
        begin(server, stack.progress)
        running = stack.airflow(server)
    user, password = stack.login()
    print(f"Airflow  {running.url}\nlogin    {user} / {password}")
    stack.progress.say("`make down` stops it.")
    return 0


def _down(stack: Stack, _: argparse.Namespace) -> int:
    stack.progress.say("Stopped" if stack.stop() else "Nothing was running")
    return 0


def _psql(stack: Stack, options: argparse.Namespace) -> int:
    where = warehouse.as_admin(stack.postgres())
    return _become([postgres.binary("psql"), *options.rest], os.environ | where.libpq_environment())


def _branch(stack: Stack, options: argparse.Namespace) -> int:
    server = stack.postgres()
    ours = {
        **_of_developer(server),
        **warehouse.as_developer(server).environment(),
        "GREENERY_STATE_DIR": str(stack.home),
        "PATH": f"{Path(postgres.binary('psql')).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    return _become([sys.executable, "-m", "include.branch", *options.rest], os.environ | ours)


def _decide(stack: Stack, options: argparse.Namespace) -> int:
    from include.command_line import log_to_stderr
    from include.publish.__main__ import main

    log_to_stderr()
    os.environ.update(warehouse.as_transformer(stack.postgres()).environment())
    return main(options.rest)


def _answer(stack: Stack, options: argparse.Namespace) -> int:
    from include.answers.__main__ import main

    os.environ.update(warehouse.as_transformer(stack.postgres()).environment())
    return main(options.rest)


def _under_way(stack: Stack, options: argparse.Namespace) -> int:
    from include.under_way import main

    os.environ.update(warehouse.as_admin(stack.postgres()).environment())
    return main(options.rest)


def _mcp(stack: Stack, options: argparse.Namespace) -> int:
    where, running = warehouse.as_health(stack.postgres()), stack.running()
    handed_on = {name: os.environ[name] for name in _MCP_TAKES if name in os.environ}
    ours = {
        **where.environment(),
        "WAREHOUSE_HEALTH_PASSWORD": where.password,
        "GREENERY_STATE_DIR": str(stack.home),
        "PYTHONPATH": str(settings.PROJECT_ROOT),
        "AIRFLOW_HOME": str(stack.home / "airflow"),
        "AIRFLOW_CONFIG": str(settings.PROJECT_ROOT / "airflow.cfg"),
        "AIRFLOW__API__BASE_URL": running.url if running else settings.airflow_url(),
    }
    # What else the environment holds is no business of who asks.
    return _become([sys.executable, "-m", "plugins.data_health.mcp_server", *options.rest], handed_on | ours)


def _backup(stack: Stack, options: argparse.Namespace) -> int:
    from include.backup import main

    server = stack.postgres()
    os.environ.update(warehouse.as_admin(server).environment())
    os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = server.url("airflow")
    os.environ["PATH"] = f"{Path(postgres.binary('psql')).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if "restore" in options.rest:
        stack.migrate_again()
    return main(options.rest)


def _masked(stack: Stack, options: argparse.Namespace) -> int:
    from include.masked.__main__ import main

    server, rest = stack.postgres(), options.rest
    filling = rest[:1] == ["fill"]
    os.environ.update(warehouse.as_admin(server).environment() | _of_developer(server))
    ours = {"--replace", "--run"} & {*rest} if filling else set()
    rest = [argument for argument in rest if argument not in ours]
    if code := _in_its_place(stack, server, rest) if "--replace" in ours else main(rest):
        return code
    if "--run" in ours:
        os.environ.setdefault("GREENERY_SCHEDULE", "")  # by hand only, as in a demo
        from include.local.demo import run_on_what_is_there

        if not run_on_what_is_there(stack):
            stack.progress.say(
                "The copy is there, but the run did not publish: a preview builds the base, and has no message."
            )
    return 0


def _in_its_place(stack: Stack, server: postgres.LocalPostgres, rest: list[str]) -> int:
    """Bring a masked copy into an empty warehouse, and set the one that is there aside."""
    from include.masked.__main__ import main

    code = 1
    warehouse.set_aside(server)
    try:
        warehouse.prepare(server)
        code = main(rest)
    finally:
        if code:
            warehouse.put_back(server)
    if not code:
        stack.progress.say(f"What was there is in database {warehouse.ASIDE}.")
    return code


def _prove(stack: Stack, options: argparse.Namespace) -> int:
    from include.local.proof import run

    return run(stack, options.rest)


def _preview(stack: Stack, options: argparse.Namespace) -> int:
    from include.preview.__main__ import main

    server = stack.postgres()
    os.environ.update(warehouse.as_transformer(server).environment() | _of_developer(server))
    return main(options.rest, stack.progress)


def _of_developer(server: postgres.LocalPostgres) -> dict[str, str]:
    """What `settings.warehouse_developer` reads."""
    where = warehouse.as_developer(server)
    return {"WAREHOUSE_DEVELOPER_USER": where.user, "WAREHOUSE_DEVELOPER_PASSWORD": where.password}


def _clean(stack: Stack, _: argparse.Namespace) -> int:
    stack.stop()
    shutil.rmtree(stack.home, ignore_errors=True)
    stack.progress.say(f"Forgotten: {stack.home}")
    return 0


def _become(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    """Run a command in place of this process, so that who ends the one ends the other."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what it becomes would too
    os.execve(command[0], command, environment)  # noqa: S606 - no shell


# What the MCP server needs of a shell's environment: nothing that opens more than it reads.
_MCP_TAKES = (
    "PATH",
    "HOME",
    "LANG",
    "GREENERY_MCP_TOKEN",
    "GREENERY_SCHEDULE",
    "GREENERY_PUBLISHED_BY_MINUTES",
    "GREENERY_RAW_SCHEMA",
    "GREENERY_BACKUP_SCHEDULE",
)
# Errors whose message is a sentence that says what to do.
_TOLD = (StackError, PostgresError, AirflowApiError, CsvError, LoadError, ShopError, ProjectError, ValueError)
_COMMANDS = {
    "demo": _demo,
    "up": _up,
    "down": _down,
    "psql": _psql,
    "branch": _branch,
    "decide": _decide,
    "answer": _answer,
    "under-way": _under_way,
    "mcp": _mcp,
    "backup": _backup,
    "masked": _masked,
    "prove": _prove,
    "preview": _preview,
    "clean": _clean,
}

if __name__ == "__main__":
    sys.exit(main())
