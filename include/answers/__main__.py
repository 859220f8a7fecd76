"""Answer what you are told: expected, muted until a day, or mine; end an answer; list them.

python -m include.answers mute unique_orders_order_id --until 2026-12-03 --reason "mended in the shop on Thursday"

What it is about goes by its name or its unique id in dbt: a test, a model, a raw table (raw.orders), a metric. The
answer carries the login in the warehouse and that of the system; a name is a note beside them. The next message has
it.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, date, datetime

import psycopg2

from include.answers import answers, known
from include.answers.answer import About, Answer, Kind
from include.answers.answers import AnswerError, Kept
from include.dbt_project import manifest, release
from include.dbt_project.manifest import Manifest
from include.warehouse import connect
from include.warehouse.login import at_a_shell

_KINDS = {
    Kind.EXPECTED: "what is unusual was to be expected: it is not said again for this reason",
    Kind.MUTE: "say it in short until a day; a failed test of severity error still holds the publish",
    Kind.MINE: "you see to it, until it is well",
}


def main(arguments: list[str] | None = None) -> int:
    """Carry out one command; 0 where it was done, 1 where it was refused, with one sentence on stderr."""
    options = _parser().parse_args(arguments)
    facts = _facts()
    try:
        with connect("greenery answers") as connection:
            if options.do == "list":
                _list(answers.kept(connection), facts, everything=options.all)
                return 0
            login = at_a_shell(connection)
            if options.do == "end":
                ended = answers.end(connection, options.answer, login, options.reason)
                print(f"Ended: {_line(Kept(ended), facts)}")
                return 0
            about = About(known.find(facts, options.about), options.measure, options.column, options.item, options.day)
            given = answers.give(
                connection,
                Kind(options.do),
                about,
                login,
                options.reason,
                options.until,
                options.waives,
                name=options.by,
            )
    except AnswerError as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except psycopg2.Error as error:
        print(f"The warehouse failed: {error}\n`list` says whether it was kept.", file=sys.stderr)
        return 1
    print(f"Done: {_line(Kept(given), facts)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m include.answers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="do", required=True)
    for kind, purpose in _KINDS.items():
        command = commands.add_parser(kind, help=purpose, description=purpose)
        command.add_argument("about", help="the name, or the unique id in dbt, of what it is about")
        command.add_argument("--measure", default="", help="of it, one series: as the link in the message names it")
        command.add_argument("--column", default="", help="the series' column")
        command.add_argument("--item", default="", help="the series' value")
        command.add_argument(
            "--day", type=_day, required=kind == Kind.EXPECTED, help="the UTC day of what was told: 2026-11-29"
        )
        command.add_argument("--until", type=_day, required=kind == Kind.MUTE, help="its last UTC day: 2026-12-03")
        command.add_argument("--by", default="", metavar="NAME", help="what to call you beside your login")
        command.add_argument("--reason", required=True, help="why: people read it in the message")
        command.set_defaults(waives=False)
        if kind == Kind.MUTE:
            command.add_argument("--waives", action="store_true", help="let the test through: it holds no publish")
    ending = commands.add_parser("end", help="end an answer before its day", description="end an answer before its day")
    ending.add_argument("answer", type=int, help="its number, as the list shows it")
    ending.add_argument("--reason", required=True, help="why")
    listing = commands.add_parser("list", help="what is in force", description="what is in force, the newest first")
    listing.add_argument("--all", action="store_true", help="what has ended as well")
    return parser


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day such as 2026-12-03") from None


def _facts() -> Manifest:
    """The dbt project as it is now."""
    project = release.current()
    return manifest.read(project.manifest) if project else Manifest({}, {})


def _list(found: tuple[Kept, ...], facts: Manifest, *, everything: bool) -> None:
    today = datetime.now(UTC).date()
    for one in found:
        if everything or one.is_in_force(today):
            print(_line(one, facts))


def _line(kept: Kept, facts: Manifest) -> str:
    """An answer in a line."""
    one = kept.answer
    end = f"; ended by {kept.end.ended_by}: {kept.end.reason}" if kept.end else ""
    line = f"{one.answer_id}  {_said(one)} {known.titled(facts, one.about)}, by {one.by}: {one.reason}{end}"
    return "".join(letter if letter.isprintable() else " " for letter in line)  # a terminal obeys the others


def _said(answer: Answer) -> str:
    until = f" until {answer.until}" if answer.until else ""
    return f"{answer.kind}{until}{', let through' if answer.waives else ''}:"


if __name__ == "__main__":
    sys.exit(main())
