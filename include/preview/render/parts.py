"""What a preview found, part by part: each is there only if it has something to say, and each is bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from include import words
from include.dbt_project import helpers
from include.preview.render import headline, lineage
from include.preview.render.document import Block, Document, Drawing, Folded, Part, Points, Table, Verbatim
from include.preview.render.headline import named
from include.preview.report import (
    Became,
    Cost,
    Example,
    FigureDay,
    FigureMove,
    Kind,
    ModelChange,
    Report,
    RowsDiff,
    SlowModel,
    TestChange,
)
from include.slack.message import Bold, Code, Line, Piece, listed, short
from include.words import Unit

# So many rows of a table or points of a list; the others are counted.
SHOWN = 20
# So many days of a figure, examples of a model, and columns of an example.
DAYS, EXAMPLES, COLUMNS = 14, 3, 6
# So many columns of a row that is added or gone.
WHOLE_ROW = 4
# Of so many figures the days are told, and of so many models examples and plans.
FOLDED = 5
# So many characters of the message, of a plan, and of how a unit test's rows differ.
LONGEST_MESSAGE, LONGEST_PLAN, LONGEST_DIFFERENCE = 10_000, 3_000, 1_000
_BECAME = {
    Became.FAILS: "newly fails",
    Became.NOT_RUN: "can't run",
    Became.WARNS: "newly warns",
    Became.PASSES: "passes again",
    Became.STILL_FAILS: "still fails",
    Became.STILL_WARNS: "still warns",
}
_BREAKS = (Became.FAILS, Became.NOT_RUN)


def document(report: Report) -> Document:
    """All of it, the worst first."""
    parts = (
        Part("What breaks", tuple(_breaks(report))),
        Part("Figures that move", tuple(_figures(report.figures))),
        Part("Figures of the message", tuple(_told(report))),
        Part("Rows", tuple(_rows(report))),
        Part("Tests", tuple(_tests(report))),
        Part("Speed", tuple(_slow(report.slow))),
        Part("Who reads it", tuple(_exposures(report))),
        Part("Models", tuple(_models(report))),
        Part("The message of the next run", tuple(_message(report.message))),
        Part("Notes", _points((short(note, 600),) for note in report.notes)),
    )
    return Document(
        headline.headline(report), headline.to_do(report), tuple(part for part in parts if part.blocks), _footer(report)
    )


def _breaks(report: Report) -> Iterator[Block]:
    """Models that can't be built, tests that newly fail, columns and views that people lose."""
    lines: list[Line] = []
    for model in report.failed:
        kind = "breaks its contract" if model.breaks_contract else "can't be built"
        behind = (
            f" {helpers.counted(model.behind)} behind it {'was' if len(model.behind) == 1 else 'were'} not built."
            if model.behind
            else ""
        )
        lines.append(("model ", Code(short(model.name, 120)), f" {kind}: {_ended(short(model.reason, 500))}{behind}"))
    tests = (*report.newly(Became.FAILS), *report.not_run)
    lines += [_test(one) for one in tests]
    if unknown := len(report.newly(Became.NOT_RUN)) - len(report.not_run):
        lines.append((f"{words.count(unknown, 'test')} can't run, since what they test was not built.",))
    for rows, column in report.lost_columns:
        lines.append(_lost(rows, column))
    lines += [("mart ", Code(short(one.name, 120)), " is gone.") for one in report.gone_marts]
    for reader in report.readers:
        what = (f"{short(reader.kind, 40)} ", Code(short(reader.name, 120)), " of ", Code(short(reader.owner, 60)))
        lines.append((*what, " on ", Code(short(reader.mart, 80)), f": {_ended(short(reader.why))}"))
    yield from _points(lines)
    # The shortest first: it says in a few columns what others say in many.
    for one in sorted([one for one in tests if one.differs], key=lambda one: len(one.differs))[:FOLDED]:
        title = ("How the rows of ", Code(short(headline.called(one)[1], 160)), " differ")
        yield Folded(title, (Verbatim(one.differs[:LONGEST_DIFFERENCE]),))


def _lost(rows: RowsDiff, column: str) -> Line:
    """What became of a column that people query."""
    which: Line = ("column ", Code(f"{short(rows.name, 80)}.{short(column, 80)}"))
    if new := dict(rows.renamed).get(column):
        return (*which, " is called ", Code(short(new, 80)), " now; all its values are there.")
    if change := next((one for one in rows.retyped if one.column == column), None):
        return (
            *which,
            " was ",
            Code(short(str(change.before), 80)),
            " and is ",
            Code(short(str(change.after), 80)),
            ".",
        )
    return (*which, " is gone.")


def _test(test: TestChange) -> Line:
    reason = f": {_ended(short(test.reason, 400))}" if test.reason else ""
    owner = f" Owner: {short(test.owner, 60)}." if test.owner else ""
    new = " (a new test)" if test.is_new else ""
    kind, name = headline.called(test)
    return (f"{kind} ", Code(short(name, 160)), f" {_BECAME[test.became]}{new}{reason or '.'}{owner}")


def _figures(figures: Sequence[FigureMove]) -> Iterator[Block]:
    if not figures:
        return
    shown = sorted(figures, key=lambda one: not one.is_told)[:SHOWN]
    rows = tuple(
        ((_label(one),), *_apart(newest, one), (words.weekday(newest.day),), (f"{one.moved:,} of {one.compared:,}",))
        for one in shown
        if (newest := next(iter(one.days), None))
    )
    yield Table(("figure", "before", "after", "difference", "newest day", "days"), rows, frozenset({1, 2, 3, 5}))
    yield from _more(len(figures) - len(shown), "figure")
    for one in [one for one in shown if one.is_told and one.days[1:]][:FOLDED]:
        days = tuple(((words.weekday(day.day),), *_apart(day, one)) for day in one.days[:DAYS])
        table = Table(("day", "before", "after", "difference"), days, frozenset({1, 2, 3}))
        rest = one.moved - len(days)
        yield Folded((_label(one), f" by day ({one.moved:,})"), (table, *_more(rest, "day")))


def _told(report: Report) -> Iterator[Block]:
    """What the message tells newly, and no more."""
    plan = report.plan
    yield from _points(
        (f"The message {how} ", *named(names, COLUMNS), ".")
        for names, how in ((plan.figures_new, "newly has"), (plan.figures_gone, "no longer has"))
        if names
    )


def _label(figure: FigureMove) -> Piece:
    label = short(figure.label, 60)
    return Bold(label) if figure.is_told else label


def _apart(day: FigureDay, figure: FigureMove) -> tuple[Line, Line, Line]:
    """Before, after and the difference, in digits that show it, and in percent where that says something."""
    finite = [one for one in (day.before, day.after) if one is not None and one.is_finite()]
    if len(finite) < 2:
        told = [
            words.apart(one, one, figure.unit)[1] if one is not None and one.is_finite() else "none"
            for one in (day.before, day.after)
        ]
        return (told[0],), (told[1],), ("",)
    before, after = finite
    between, now, then = words.apart(after, before, figure.unit)
    sign = "-" if after < before else "+"
    share = (
        f" ({sign}{abs(after - before) / abs(before) * 100:,.1f} %)" if before and figure.unit != Unit.PERCENT else ""
    )
    return (then,), (now,), (f"{sign}{between}{share}",)


def _rows(report: Report) -> Iterator[Block]:
    """By mart; helpers are counted, where a mart moves too. What only adds columns, and what is the same, is a line."""
    rows, (moved, beside) = report.kept, _marts_first(report, report.moved_rows)
    new = {one.name for one in report.plan.models if one.kind is Kind.NEW}
    if moved:
        cells = tuple(
            (
                (Code(short(one.name, 80)),),
                (f"{one.before:,}",),
                (f"{one.after:,}",),
                *((f"{number:,}" if number else "",) for number in (one.added, one.gone, one.changed)),
            )
            for one in moved[:SHOWN]
        )
        header = ("model", "rows before", "after", "added", "gone", "changed")
        yield Table(header, cells, frozenset({1, 2, 3, 4, 5}))
        yield from _more(len(moved) - len(cells), "model")
    lines: list[Line] = [_by_column(one) for one in moved[:SHOWN] if one.columns]
    lines += [
        (Code(short(one.name, 80)), f" is new: {words.count(one.after, 'row')}.")
        for one in report.rows
        if one.name in new
    ]
    lines += [line for one in rows for line in _beside(one)]
    if beside:
        has = "has" if len(beside) == 1 else "have"
        names = named([one.name for one in beside], COLUMNS)
        lines.append((f"{words.count(len(beside), 'helper')} {has} other rows as well: ", *names, "."))
    if same := _same(report):
        has = "has" if len(same) == 1 else "have"
        lines.append((f"{words.count(len(same), 'model')} {has} every row as before: ", *named(same, COLUMNS), "."))
    yield from _points(lines)
    for one in [one for one in moved if one.examples][:FOLDED]:
        by: Line = (", by ", *named(one.key)) if one.key else ()
        title = ("Examples of ", Code(short(one.name, 80)), *by)
        yield Folded(title, _points(map(_example, one.examples[:EXAMPLES])))


def _marts_first(report: Report, moved: Sequence[RowsDiff]) -> tuple[list[RowsDiff], list[RowsDiff]]:
    """What is told in full: marts, those that the change itself touches first; and helpers, unless there is no mart."""
    own = {one.name for one in report.plan.models if one.kind is Kind.CHANGED}
    marts = {one.name for one in report.plan.models if one.is_mart and not helpers.is_helper(one.name)}
    told = sorted((one for one in moved if one.name in marts), key=lambda one: one.name not in own)
    beside = [one for one in moved if one.name not in marts]
    return (told, beside) if told else (beside, [])


def _same(report: Report) -> list[str]:
    """Models that were built and have the same rows and columns."""
    missing = {name for one in report.failed for name in (one.name, *one.behind)}
    differ = {one.name for one in report.kept if not one.is_same}
    kept = (one.name for one in report.plan.built() if one.kind is not Kind.NEW)
    return [name for name in kept if name not in missing | differ]


def _by_column(rows: RowsDiff) -> Line:
    """Of the rows that changed: `dim_users` in orders (8) and lifetime_value (5)."""
    shown = sorted(rows.columns, key=lambda one: -one.rows)[:COLUMNS]
    pieces: list[Piece] = [Code(short(rows.name, 80)), " changes in "]
    for one in shown:
        told = f"{one.rows:,}" if one is not shown[0] else words.count(one.rows, "row")
        pieces += [", " if one is not shown[0] else "", Code(short(one.column, 60)), f" ({told})"]
    more = len(rows.columns) - len(shown)
    return (*pieces, f" and {more:,} more." if more else ".")


def _beside(rows: RowsDiff) -> Iterator[Line]:
    """What there is besides rows: keys that repeat, columns that came. Columns that people lose are told before."""
    name = Code(short(rows.name, 80))
    if rows.repeated:
        several = "keys are" if rows.repeated != 1 else "key is"
        yield (name, f": {rows.repeated:,} {several} there more than once now.")
    if rows.added_columns:
        several = "columns are" if len(rows.added_columns) > 1 else "column is"
        beside = "; nothing else of it changes" if rows.only_adds_columns else ""
        yield (name, f": the new {several} ", *named(rows.added_columns, COLUMNS), f"{beside}.")
    if not rows.key and (rows.added or rows.gone):
        yield (name, " has no key, so a row that changed counts as one gone and one added.")


def _example(example: Example) -> Line:
    key = Code(short(example.key, 100))
    if example.before is None or example.after is None:
        row = example.after if example.before is None else example.before
        said = [f"{name} = {words.value(held)}" for name, held in list((row or {}).items())[:WHOLE_ROW]]
        return (key, " is added: " if example.before is None else " is gone: ", Code(short(", ".join(said), 240)))
    pieces: list[Piece] = []
    every = list(dict.fromkeys((*example.before, *example.after)))
    differ = [name for name in every if example.before.get(name) != example.after.get(name)]
    for name in differ[:COLUMNS]:
        before, after = (short(words.value(of.get(name)), 40) for of in (example.before, example.after))
        pieces += [", " if pieces else "", f"{short(name, 60)} ", Code(before), " → ", Code(after)]
    more = len(differ) - COLUMNS
    return (key, ": ", *pieces, f" and {more:,} more" if more > 0 else "")


def _tests(report: Report) -> Iterator[Block]:
    """What newly warns, passes, or is still as it was; what breaks was told."""
    told = [one for one in report.tests if one.became not in _BREAKS]
    lines = [_test(one) for became in _BECAME for one in told if one.became is became]
    for names, what in ((report.plan.tests_new, "new"), (report.plan.tests_gone, "gone")):
        if names:
            lines.append(
                (f"{words.count(len(names), 'test')} {'is' if len(names) == 1 else 'are'} {what}: ", *named(names), ".")
            )
    yield from _points(lines)


def _slow(slow: Sequence[SlowModel]) -> Iterator[Block]:
    lines, plans = [], []
    for one in slow:
        name = Code(short(one.name, 80))
        day, at_ten = _about(one.seconds), _about(one.seconds_at_ten)
        at_ten = "as much" if at_ten == day else at_ten
        pieces: list[Piece] = [name, f" takes {day} on an ordinary day, and {at_ten} with ten times the history."]
        if one.whole:
            pieces.append(" ⚠️ It reads all of ")
            for number, (relation, rows) in enumerate(one.whole[:COLUMNS]):
                pieces += [", " if number else "", Code(short(relation, 80)), f" ({words.count(rows, 'row')})"]
            pieces.append(" each day.")
        if one.differs:
            pieces.append(
                f" ⚠️ An ordinary day makes {words.count(one.differs, 'row')} otherwise than a full build does."
            )
        lines.append(tuple(pieces))
        if one.plan and one.is_warned_of:
            plans.append(Folded(("The plan of ", name), (Verbatim(one.plan[:LONGEST_PLAN]),)))
    yield from _points(lines)
    yield from plans[:FOLDED]


def _exposures(report: Report) -> Iterator[Block]:
    yield from _points(
        (Bold(short(one.label, 80)), f" · {short(one.owner, 60)}" if one.owner else "", ": ", *named(one.models))
        for one in report.plan.exposures
    )


def _models(report: Report) -> Iterator[Block]:
    plan = report.plan
    own = [one for one in (*plan.models, *plan.snapshots) if one.kind in (Kind.NEW, Kind.CHANGED, Kind.GONE)]
    if own:
        rows = tuple(_model(one) for one in own[:SHOWN])
        header = ("model", "is", "because of", "next run", "full build", "rows", "size", "owner")
        yield Table(header, rows, frozenset({4, 5, 6}))
        yield from _more(len(own) - len(rows), "model")
    lines: list[Line] = []
    if same := [one for one in plan.models if one.kind is Kind.COMMENTS]:
        makes = "makes" if len(same) == 1 else "make"
        lines.append((f"{words.count(len(same), 'model')} {makes} the same rows: ", *_with_reasons(same), "."))
    if behind := [one.name for one in plan.models if one.kind is Kind.DOWNSTREAM]:
        reads = "reads" if len(behind) == 1 else "read"
        lines.append((f"{words.count(len(behind), 'model')} {reads} what changes: ", *named(behind, COLUMNS), "."))
    if cost := headline.rebuilt(report):
        lines.append((cost,))
    yield from _points(lines)
    if graph := lineage.mermaid(report):
        yield Drawing(graph, lineage.legend(report))


def _with_reasons(models: Sequence[ModelChange]) -> Line:
    """Models that are the same but for what is named with each: `fact_orders` (comments)."""
    pieces: list[Piece] = []
    for one in models[:COLUMNS]:
        why = f" ({listed(one.reasons)})" if one.reasons else ""
        pieces += [", " if pieces else "", Code(short(one.name, 80)), why]
    more = len(models) - COLUMNS
    return (*pieces, f" and {more:,} more" if more > 0 else "")


def _model(model: ModelChange) -> tuple[Line, ...]:
    # The columns themselves say it better.
    reasons = [short(one, 60) for one in model.reasons[:COLUMNS] if one != "columns" or not model.columns]
    columns = [_declared(one.column, one.before, one.after) for one in model.columns[:COLUMNS]]
    next_run = (
        "" if model.kind is Kind.GONE else "builds all" if model.is_rebuilt or model.kind is Kind.NEW else "as usual"
    )
    return (
        (Code(short(model.name, 80)),),
        (model.kind.value,),
        (", ".join((*reasons, *columns)),),
        (next_run,),
        *_cost(model.cost),
        (short(model.owner or "", 60),),
    )


def _declared(column: str, before: str | None, after: str | None) -> str:
    name = short(column, 60)
    if before is None:
        return f"new column {name}"
    return f"column {name} gone" if after is None else f"column {name}: {short(before, 40)} → {short(after, 40)}"


def _cost(cost: Cost) -> tuple[Line, Line, Line]:
    return (
        ("" if cost.seconds is None else _about(cost.seconds),),
        ("" if cost.rows is None else f"{cost.rows:,}",),
        ("" if cost.bytes is None else words.size(cost.bytes),),
    )


def _about(seconds: float) -> str:
    return words.span(timedelta(seconds=seconds))


def _message(message: str) -> Iterator[Block]:
    if message:
        first, _, rest = message.partition("\n")
        cut = rest.strip("\n")[:LONGEST_MESSAGE] + ("\n…" if len(rest) > LONGEST_MESSAGE else "")
        yield Folded((short(first),), (Verbatim(cut),))


def _footer(report: Report) -> Line:
    versus = report.versus
    which: Line = ("Compared with ", Code(short(versus.base, 80)), f" ({short(versus.commit, 40)})")
    if versus.published_at:
        what = f" as it was published on {words.moment(versus.published_at)}."
    elif versus.why:
        what = f". {_ended(short(versus.why, 300))}"
    else:
        what = "; nothing had to be built."
    return (*which, f"{what} This preview began on {words.moment(report.made_at)} and took {_about(report.seconds)}.")


def _points(lines: Iterable[Line]) -> tuple[Points, ...]:
    """A list, cut; nothing where it is empty."""
    every = list(lines)
    if not every:
        return ()
    more = len(every) - SHOWN
    return (Points((*every[:SHOWN], *(((f"and {more:,} more",),) if more > 0 else ()))),)


def _more(number: int, noun: str) -> tuple[Points, ...]:
    return (Points(((f"and {words.count(number, f'more {noun}')}",),)),) if number > 0 else ()


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?", "…")) else f"{sentence}."
