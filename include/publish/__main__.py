"""Decide by hand what people query: roll-back, publish, hold or release, with a reason.

python -m include.publish roll-back --reason "revenue of the 23rd is wrong"

The decision carries the login in the warehouse and that of the system; a name is a note beside them.
Slack is told from here if its connection is in the environment (AIRFLOW_CONN_SLACK_…), else by greenery_watchdog.
"""

from __future__ import annotations

import argparse
import sys

import psycopg2

from include.command_line import log_to_stderr
from include.fast_cosmos.releases import ProjectError
from include.publish import by_hand
from include.publish.gate import NotPublishedError
from include.results.publications import PUBLISH
from include.slack.decision import unheard
from include.warehouse import connect
from include.warehouse.login import at_a_shell

# An answer that was lost on its way may have been yes.
_LOOK = "Before you try again, see whether it took effect: python -m include.under_way lists the newest decisions."


def main(arguments: list[str] | None = None) -> int:
    """Carry out one decision; 0 where it took effect, 1 where it was refused, with one sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m include.publish", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="action", required=True)
    for action, purpose in by_hand.ACTIONS.items():
        command = commands.add_parser(action.replace(" ", "-"), help=purpose, description=purpose)
        command.set_defaults(do=action)
        command.add_argument("--by", default="", metavar="NAME", help="what to call you beside your login")
        command.add_argument("--reason", required=True, help="why")
        if action == PUBLISH:
            command.add_argument("--run", required=True, help="the id of the run, as its page in Airflow shows it")
    options = parser.parse_args(arguments)
    try:
        with connect("greenery by hand") as connection:
            login = at_a_shell(connection)
        decision = by_hand.decide(options.do, getattr(options, "run", None), login, options.reason, name=options.by)
    except (NotPublishedError, ProjectError, ValueError) as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except psycopg2.Error as error:
        print(f"The warehouse failed: {error}\n{_LOOK}", file=sys.stderr)
        return 1
    print(f"Done: {decision.action}, by {decision.by}.")
    if waits := unheard(decision):
        print(waits, file=sys.stderr)
    return 0


if __name__ == "__main__":
    log_to_stderr()
    sys.exit(main())
