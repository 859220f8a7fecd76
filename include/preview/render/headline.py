"""The first lines of a preview: whether to merge, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from include import words
from include.preview.report import Became, FigureMove, Kind, Report, TestChange, Verdict
from include.slack.message import Code, Line, Piece, listed, short

# So many names of a kind; the others are counted.
NAMED = 3
_MARKS = {Verdict.RED: "🔴", Verdict.YELLOW: "🟡", Verdict.GREEN: "🟢"}


def headline(report: Report) -> str:
    """Whether to merge, in one line: what breaks, else what moves, else that nothing does."""
    breaks, moves, adds = (listed(list(of(report)), 9) for of in (_breaks, _moves, _adds))
    match report.verdict:
        case Verdict.RED:
            comma = "," if " and " in breaks else ""
            said = f"Merging this breaks {breaks}" + (f"{comma} and moves {moves}" if moves else "")
        case Verdict.YELLOW:
            if moves:
                said = f"Merging this moves {moves}"
            elif gone := listed(list(_one_of("figure", report.plan.figures_gone))):
                said = f"Merging this takes {gone} out of the message"
            else:
                said = f"Merging this warns of {listed(list(_warns(report)))}"
        case Verdict.GREEN:
            same = f"The dbt project is the same as in {short(report.versus.base, 80)}"
            nothing = same if report.versus.is_same else "Nothing that people see changes"
            said = f"Merging this adds {adds}; nothing else changes" if adds else nothing
    return f"{_MARKS[report.verdict]} {said}"


def to_do(report: Report) -> tuple[Line, ...]:
    """What to do next, the first thing first."""
    lines = list(_to_do(report))
    if report.versus.is_same:
        lines.append(
            ("No file of it differs, so there is nothing to look at. To compare with another commit, name it as BASE.",)
        )
    elif report.verdict is Verdict.GREEN:
        lines.append(("Read the code and merge: this preview found nothing else to look at.",))
    return tuple(lines)


def rebuilt(report: Report) -> str:
    """What the next run builds in full, and what that takes; "" where it builds nothing so."""
    full = [one for one in report.plan.models if one.is_rebuilt]
    if not full:
        return ""
    seconds = [one.cost.seconds for one in full if one.cost.seconds is not None]
    takes = f", which takes about {words.span(timedelta(seconds=sum(seconds)))}" if seconds else ""
    return f"Each of the next two runs builds {words.count(len(full), 'model')} in full{takes}."


def named(names: Sequence[str], shown: int = NAMED) -> tuple[Piece, ...]:
    """Names in a sentence, each as code: a, b, c and 2 more."""
    first = [Code(short(name, 80)) for name in names[:shown]]
    more = len(names) - len(first)
    pieces: list[Piece] = []
    for number, name in enumerate(first):
        last = number == len(first) - 1 and number > 0 and not more
        pieces += [" and " if last else ", " if number else "", name]
    return tuple(pieces) + ((f" and {more:,} more",) if more else ())


def called(test: TestChange) -> tuple[str, str]:
    """What kind of test it is, and its name without that: ("test", "unique on fact_orders.order_id")."""
    kind = "unit test" if test.is_unit_test else "test"
    return kind, test.name.removeprefix(f"{kind} ")


def _breaks(report: Report) -> Iterator[str]:
    yield from _one_of("model", [one.name for one in report.failed])
    yield from _tests((*report.newly(Became.FAILS), *report.not_run))
    yield from _one_of("column", [f"{one.name}.{column}" for one, column in report.lost_columns])
    yield from _one_of("mart", [one.name for one in report.gone_marts])
    if len({one.kind for one in report.readers}) > 1:
        yield f"{len(report.readers):,} views and functions"
    elif report.readers:
        yield from _one_of(short(report.readers[0].kind, 40), [one.name for one in report.readers])


def _moves(report: Report) -> Iterator[str]:
    if report.figures:
        told = next((one for one in report.figures if one.is_told), report.figures[0])
        first = f"{words.inside(short(told.label, 40))}{_newest(told)}"
        yield f"{words.count(len(report.figures), 'figure')}: {first}" if len(report.figures) > 1 else first
    elif rows := report.moved_rows:
        yield f"rows of {words.count(len(rows), 'model')}" if rows[1:] else f"rows of {short(rows[0].name, 60)}"


def _newest(figure: FigureMove) -> str:
    """What its newest day that moves was and will be: " of Mon 23 Nov from $4,210 to $8,421"."""
    day = next(iter(figure.days), None)
    if day is None or not all(one is not None and one.is_finite() for one in (day.before, day.after)):
        return ""
    _, after, before = words.apart(day.after, day.before, figure.unit)
    return f" of {words.weekday(day.day)} from {before} to {after}"


def _warns(report: Report) -> Iterator[str]:
    yield from _tests(report.newly(Became.WARNS))
    yield from _one_of("slow model", [one.name for one in report.slow if one.is_warned_of])
    yield from _one_of("model", [one.name for one in report.kept if not one.is_same and not one.only_adds_columns])


def _adds(report: Report) -> Iterator[str]:
    yield from _one_of("model", [one.name for one in report.plan.models if one.kind == "new"])
    yield from _one_of("column", [f"{one.name}.{name}" for one in report.kept for name in one.added_columns])
    yield from _one_of("figure", report.plan.figures_new)


def _tests(tests: Sequence[TestChange]) -> Iterator[str]:
    yield from _one_of(called(tests[0])[0] if len(tests) == 1 else "test", [called(one)[1] for one in tests])


def _one_of(noun: str, names: Sequence[str]) -> Iterator[str]:
    """One by its name, several counted: "model fact_orders", "3 tests"."""
    if names:
        yield f"{noun} {short(names[0], 60)}" if len(names) == 1 else words.count(len(names), noun)


def _to_do(report: Report) -> Iterator[Line]:
    if report.failed:
        failed = named([one.name for one in report.failed])
        yield ("Mend ", *failed, ". Until it is built, nothing is known of what reads it.")
    if broken := (*report.newly(Became.FAILS), *report.not_run):
        on = named(_to_mend(report, broken))
        tests = named([called(one)[1] for one in broken])
        holds = not all(one.is_unit_test for one in broken)
        ending = f".{' Merged as it is, the next run publishes nothing.' * holds}"
        yield ("Mend ", *on, ", or change what fails: ", *tests, ending)
    if repeated := [one.name for one in report.moved_rows if one.repeated]:
        yield ("Look at the joins of ", *named(repeated), ": keys are there more than once that were there once.")
    if lost := report.lost_columns:
        columns = list(dict.fromkeys(f"{one.name}.{column}" for one, column in lost))
        yield ("Keep ", *named(columns), " beside what takes its place, until nobody reads it any more.")
    if gone := report.gone_marts:
        yield ("Make sure that nobody queries ", *named([one.name for one in gone]), " any more.")
    if report.readers:
        owners = listed(list(dict.fromkeys(one.owner for one in report.readers)))
        yield (f"Talk to {owners} before you merge: what they made on these marts would not work.",)
    if report.figures or report.moved_rows:
        what = "figures" if report.figures else "rows"
        yield (f"Are the {what} below meant to move?{_tell(report)} If not, mend the model.",)
    if report.plan.figures_gone:
        yield ("Tell who reads the message that it no longer has ", *named(report.plan.figures_gone), ".")
    if warned := report.newly(Became.WARNS):
        yield (
            "Look at what ",
            *named([called(one)[1] for one in warned]),
            f" {'finds' if len(warned) == 1 else 'find'}.",
        )
    if gone := report.plan.tests_gone:
        yield ("Ask what looks after the data in place of ", *named(gone), ".")
    if differs := [one.name for one in report.slow if one.differs]:
        yield ("Mend ", *named(differs), ": an ordinary day makes other rows of it than a full build.")
    if whole := [one.name for one in report.slow if one.whole]:
        yield ("Look at ", *named(whole), " for speed: an ordinary day reads a whole table for it.")


def _to_mend(report: Report, broken: Sequence[TestChange]) -> list[str]:
    """The models that the change itself touches and that tests are on or behind, else those that the tests are on."""
    behind = {one.model for one in broken}
    while more := {source for source, target in report.plan.edges if target in behind} - behind:
        behind |= more
    own = [one.name for one in report.plan.models if one.kind in (Kind.CHANGED, Kind.NEW)]
    return [name for name in own if name in behind] or own or list(dict.fromkeys(one.model for one in broken))


def _tell(report: Report) -> str:
    """Who should hear of it before the merge."""
    owners = list(dict.fromkeys(one.owner for one in report.plan.exposures if one.owner))
    return f" If so, tell {listed(owners, 6)} before you merge." if owners else ""
