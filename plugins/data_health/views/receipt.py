"""The receipt of a figure: what was told, on what it stands, which rows make it up, and what became of it since."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal

from include.dbt_project.counted import counted, nouns, stands_on
from include.dbt_project.manifest import Manifest
from include.dbt_project.metrics import Metric
from include.receipts import basis, explain, kept_moves, told
from include.receipts.basis import BuiltModel, Load
from include.receipts.explanation import Explanation
from include.receipts.move import Move, Side
from include.receipts.told import Told
from include.results import failures, node_results, publications, standing
from include.results.nodes import NodeResult
from include.results.publications import Publication
from include.results.standing import Standing
from include.warehouse import personal
from plugins.data_health import nodes, rows_of_figure, runs
from plugins.data_health.reading import Reading, facts_of
from plugins.data_health.rows_of_figure import RowsOfFigure
from plugins.data_health.views.figures import named_metrics

# Of how many moves of a figure the parts and rows are shown, and how many rows of each.
MOVES, KEYS = 20, 200
_CENT = Decimal("0.01")


@dataclass(frozen=True)
class ModelOfFigure:
    """A model that a figure stands on, as that publication built it. `name` names its page, where it has one still.

    `changed`: its file is another in what people query now. `ran_otherwise`: it is not, and what dbt ran of it is, as
    where it was built in full then and not now, or by another macro.
    """

    built: BuiltModel
    name: str
    page: str | None
    changed: bool
    ran_otherwise: bool


@dataclass(frozen=True)
class TestOfFigure:
    """How a data test on what a figure stands on ended in the publication's run; `state` is dbt's word."""

    unique_id: str
    title: str
    page: str | None
    state: str


@dataclass(frozen=True)
class KeyOfRow:
    """A row behind a move; `key` is None where it names a person. `before` and `after` are what it counted for."""

    model: str
    key: str | None
    what: str
    before: Decimal | None
    after: Decimal | None
    changed: tuple[str, ...]
    other_day: date | None


@dataclass(frozen=True)
class ToldSince:
    """How a figure was told from a publication on; `move` is how it came that it is told otherwise, if it was over."""

    told: Told
    publication: Publication
    move: Move | None
    rows: tuple[KeyOfRow, ...]


@dataclass(frozen=True)
class Receipt:
    """A metric of a UTC day, as it was told at `told_on`, by default now.

    `told` is None where nothing was told of it by then; `before_receipts` says that there was a publication then of
    which no receipt was kept. `publication` is what people queried then. Loads, models and tests are that one's, and
    only those that the figure stands on; `results_kept` is False where its run's results are deleted by now. `rows`
    are those of now, empty where the project counts the metric by no rows. `nouns` say what the
    rows of a model are.
    """

    metric: Metric
    day: date
    told_on: datetime | None
    told: Told | None
    now: Told | None
    before_receipts: bool
    publication: Publication | None
    has_run: bool
    loads: tuple[Load, ...]
    models: tuple[ModelOfFigure, ...]
    tests: tuple[TestOfFigure, ...]
    results_kept: bool
    history: tuple[ToldSince, ...]
    explanation: Explanation | None
    against: tuple[Standing, ...]
    rows: tuple[RowsOfFigure, ...]
    nouns: dict[str, str]
    at: datetime

    @property
    def differs(self) -> bool:
        """Whether it is told otherwise now."""
        return (self.told and self.told.value) != (self.now and self.now.value)

    def adds_up(self, side: RowsOfFigure) -> bool:
        """Whether rows make up what is told now, to the cent."""
        told = self.now and (self.now.denominator if side.side is Side.DENOMINATOR else self.now.numerator)
        if told is None and self.now and len(self.rows) == 1:
            told = self.now.value
        return told is None or abs(told - (side.total or 0)) < _CENT

    @property
    def passed(self) -> tuple[TestOfFigure, ...]:
        """The tests that passed."""
        return tuple(test for test in self.tests if test.state == "pass")

    @property
    def not_passed(self) -> tuple[TestOfFigure, ...]:
        """All others."""
        return tuple(test for test in self.tests if test.state != "pass")


def read(reading: Reading, metric: str, day: date, told_on: datetime | None = None) -> Receipt:
    """The receipt. Raises LookupError where nothing was ever told of it."""
    connection, facts = reading.connection, reading.facts
    history = known(reading, metric, day)
    publication = publications.in_force(connection, told_on)
    asked = told.as_told(connection, metric, day, told_on)
    its_run = _run(reading, publication)
    then = facts_of(its_run.release, facts) if its_run else facts
    stood_on = stands_on(then, metric)
    results = node_results.of_run(connection, publication.run_id) if publication else []
    one = counted(facts).get(metric)
    return Receipt(
        metric=named_metrics(facts, {metric})[metric],
        day=day,
        told_on=told_on,
        told=asked,
        now=told.as_told(connection, metric, day),
        before_receipts=asked is None and publication is not None and _before_receipts(reading, publication),
        publication=publication,
        has_run=its_run is not None,
        loads=_loads(reading, publication, then, stood_on),
        models=_models(reading, publication, stood_on),
        tests=_tests(results, then, facts, stood_on),
        results_kept=bool(results),
        history=_history(reading, history),
        explanation=_explanation(reading, metric, day, publication),
        against=standing.of_figure(connection, then, metric, day, publication),
        rows=rows_of_figure.of(reading, one, day) if one else (),
        nouns=nouns(facts),
        at=reading.at,
    )


def moment(given: str) -> datetime:
    """A moment, or the end of a day; UTC where it doesn't say otherwise. Raises ValueError for what is neither."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", given):
        return datetime.combine(date.fromisoformat(given), time.max, UTC)
    at = datetime.fromisoformat(given)
    if not 1000 < at.year < 9999:
        raise ValueError(given)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def known(reading: Reading, metric: str, day: date) -> list[Told]:
    """How a metric of a day was told, the first time first. Raises LookupError where nothing ever was."""
    if history := told.history(reading.connection, metric, day):
        return history
    [kept] = reading.rows(
        "select exists (select from ops.told) as any_of_it,"
        " exists (select from ops.told where metric = %(metric)s) as of_metric",
        {"metric": metric},
    )
    if not kept.any_of_it:
        raise LookupError("No figure has a receipt yet: they are kept from the next publish on.")
    if not kept.of_metric:
        raise LookupError(
            f"There is no metric {metric}: nothing was ever told of it. The list of figures has them all."
        )
    raise LookupError(f"Nothing was ever told of {metric} on {day}. The list of figures has the days that are told.")


def _run(reading: Reading, publication: Publication | None) -> runs.Run | None:
    try:
        return runs.named(reading, publication.run_id) if publication else None
    except LookupError:  # as where only the publications came back from a backup
        return None


def _before_receipts(reading: Reading, publication: Publication) -> bool:
    [row] = reading.rows("select min(publication_id) as first from ops.told")
    return publication.publication_id < row.first


def _loads(
    reading: Reading, publication: Publication | None, facts: Manifest, stood_on: frozenset[str]
) -> tuple[Load, ...]:
    """The loads of the raw tables that it stands on; of all where the project names none of them."""
    found = basis.loads(reading.connection, publication.publication_id) if publication else []
    sources = {
        facts.sources[one].get("identifier") or facts.sources[one]["name"] for one in stood_on & {*facts.sources}
    }
    return tuple(one for one in found if one.table in sources) or tuple(found)


def _models(reading: Reading, publication: Publication | None, stood_on: frozenset[str]) -> tuple[ModelOfFigure, ...]:
    if publication is None:
        return ()
    live, names = publications.in_force(reading.connection), nodes.relations(reading.facts)
    built = basis.models(reading.connection, publication.publication_id)
    newest = basis.models(reading.connection, live.publication_id) if live != publication and live else built
    now = {one.unique_id: one for one in newest}
    found = []
    for one in (one for one in built if one.unique_id in stood_on):
        newer = now.get(one.unique_id)
        changed = newer is None or newer.checksum != one.checksum
        name, page = one.unique_id.split(".")[-1], names.get(one.unique_id)
        found.append(ModelOfFigure(one, name, page, changed, not changed and newer != one))
    return tuple(found)


def _tests(
    results: list[NodeResult], then: Manifest, facts: Manifest, stood_on: frozenset[str]
) -> tuple[TestOfFigure, ...]:
    """Those on what it stands on, the worst first."""
    names, rank = nodes.data_tests(facts), ("fail", "error", "warn", "skipped", "pass")
    found = [
        TestOfFigure(one.unique_id, failures.title(one, then), names.get(one.unique_id), one.status)
        for one in results
        if one.resource_type == "test" and stood_on.intersection(failures.tested_by(one, then))
    ]
    return tuple(sorted(found, key=lambda test: (rank.index(test.state) if test.state in rank else 0, test.title)))


def _history(reading: Reading, history: list[Told]) -> tuple[ToldSince, ...]:
    """The newest first."""
    by_id = publications.named(reading.connection, [one.publication_id for one in history])
    moved = kept_moves.of_figure(reading.connection, history[0].metric, history[0].day, MOVES)
    found = []
    for one in reversed(history):
        move_id, move = moved.get(one.publication_id, (None, None))
        rows = _rows(reading, move_id) if move_id is not None else ()
        found.append(ToldSince(one, by_id[one.publication_id], move, rows))
    return tuple(found)


def _rows(reading: Reading, move_id: int) -> tuple[KeyOfRow, ...]:
    rows = reading.rows(
        """
        select unique_id, key_column, key, what, before, after, changed, other_day
        from ops.moved_rows
        where move_id = %(move)s
        order by side desc, what, key
        limit %(few)s
        """,
        {"move": move_id, "few": KEYS},
    )
    hidden = rows_of_figure.hidden(reading.connection, reading.facts)
    return tuple(
        KeyOfRow(
            model=reading.facts.title(row.unique_id),
            key=None if personal.is_named(row.key_column, hidden) else row.key,
            what=row.what,
            before=row.before,
            after=row.after,
            changed=tuple(one for one in row.changed if one not in hidden),
            other_day=row.other_day,
        )
        for row in rows
    )


def _explanation(reading: Reading, metric: str, day: date, publication: Publication | None) -> Explanation | None:
    """The newest that was kept up to that publication."""
    rows = reading.rows(
        """
        select max(publication_id) as newest
        from ops.explanations
        where metric = %(metric)s and day = %(day)s and publication_id <= %(publication)s
        """,
        {"metric": metric, "day": day, "publication": publication.publication_id if publication else 0},
    )
    if rows[0].newest is None:
        return None
    return next(
        (one for one in explain.of_publication(reading.connection, rows[0].newest) if one.metric == metric), None
    )
