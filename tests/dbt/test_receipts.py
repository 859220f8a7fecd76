"""Four weeks of a shop whose orders change, come late and are corrected: each message against a recount of the CSVs.

Each day's folder is loaded, built, published and told by the daily run's own steps, at six in the morning of the day
after: the warehouse's clock is put to it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path

import pytest
from dbt.artifacts.resources import FileHash

from include import words
from include.dbt_project import manifest
from include.dbt_project.manifest import Manifest
from include.publish import by_hand
from include.publish.publish import publish_run
from include.raw import csv_loader
from include.receipts import told
from include.receipts.explanation import Explanation
from include.receipts.move import Move, Period, Side, What
from include.results import explained, figures, node_results, nodes, publications
from include.results.publications import PUBLISH, Publication
from include.results.summary import gather
from include.slack import render
from include.warehouse import connect, migrate
from tests.clock import ServerClock
from tests.dbt import weeks
from tests.dbt.conftest import KeptShop
from tests.dbt.days import SCHEMAS, Days, Project
from tests.dbt.recount import RUNNING, SIDES, Recount, days

pytestmark = pytest.mark.db

MODELS = ("+daily_metrics", "products_snapshot", "order_items_snapshot")
# Days, by their number, on which more happened than a load: all is built anew, by another model and by the former one
# again, somebody rolls back, somebody publishes by hand.
REBUILT, OTHERWISE, ROLLED_BACK, BY_HAND = 15, 22, 25, 26
# What a message says: of a figure that moved, which orders or visits are behind it, and of what usually moves.
SAYS = re.compile(
    r"• (?P<figure>.+?) (is|are) (?P<by>\S+( points)?) (?P<way>higher|lower) than told "
    r"\((?P<now>[^,(]\S*( %)?), told (?P<then>\S+?( %)?)\)(, [^:]*)?: (?P<rows>.+)\."
)
ORDERS = re.compile(r"\b(?:visit-)?order-\d+")
USUAL = re.compile(r"(\d+) figures? of earlier days moved by what usually comes late\.")


@dataclass(frozen=True)
class Told:
    """What a publication told: from which folder, instead of what, which moves by which rows, in which message.

    `kind` says what was published: a day's load, the same once more, by a changed model, or what was before.
    """

    kind: str
    day: date
    recount: Recount
    former: Told | None
    publication: Publication
    table: dict[tuple[str, date], tuple[Decimal | None, Decimal, Decimal | None]]
    moves: tuple[Move, ...] = ()
    rows: dict[tuple[str, date], dict[tuple[str, str], tuple]] = field(default_factory=dict)
    message: str = ""
    explanations: tuple[Explanation, ...] = ()


class Weeks(Days):
    """The weeks as they were told."""

    models = MODELS

    def __init__(self, shop: KeptShop, project: Project, folder: Path) -> None:
        self.shop, self.project, self.folder, self.clock = shop, project, folder, ServerClock(shop.connection)
        self.runs, self.release, self.overlap = 0, "a release", timedelta(0)
        self.told: list[Told] = []
        self.in_force: Told | None = None

    def play(self) -> None:
        """All of them, in an empty warehouse."""
        self.forget()
        self.clock.begin()
        migrate.upgrade()
        for number, (day, folder) in enumerate(weeks.folders(self.folder)):
            self.clock.put_to(datetime.combine(day + timedelta(days=1), time(6), UTC))
            with connect() as connection:
                csv_loader.load_folder(connection, folder)
            recount = Recount(folder, weeks.price)
            self.run("by hand" if number == BY_HAND else "a load", day, recount)
            if number == REBUILT:
                self.run("rebuilt", day, recount, full_refresh=True)
            if number == OTHERWISE:
                with self.model_changed("int_daily_figures", "sum(items_amount)", "sum(items_amount + shipping_cost)"):
                    self.run("otherwise", day, recount)
                self.run("as before", day, recount)
            if number == ROLLED_BACK:
                by_hand.roll_back("ann", "a test")
                former = self.in_force.former
                self._note(Told("rolled back", former.day, former.recount, self.in_force, former.publication, {}))

    def forget(self) -> None:
        """Leave nothing in the warehouse."""
        for schema in SCHEMAS:
            self.shop.query(f"drop schema if exists {schema} cascade")

    def run(self, kind: str, day: date, recount: Recount, *, full_refresh: bool = False) -> None:
        """A whole run and its report."""
        self.begin(full_refresh=full_refresh)
        self.build()
        decision = None
        if kind == "by hand":
            with connect() as connection:
                decision = publications.decide(connection, PUBLISH, self.run_id, "ann", "a test")
        assert publish_run(self.run_id, self.facts, decision)
        explained.note(self.run_id, self.facts)
        with connect() as connection:
            live = publications.live(connection)
            summary = gather(connection, self.run_id, "http://run", run_failed=False, facts=self.facts)
            figures.keep(connection, self.run_id, summary.figures)
        rows: dict[tuple[str, date], dict] = defaultdict(dict)
        for metric, starts, side, key, *row in self.shop.query(
            "select metric, starts, side, key, what, before, after, other_day"
            " from ops.moves join ops.moved_rows using (move_id) where publication_id = %s",
            live.publication_id,
        ):
            rows[metric, starts][side, key] = tuple(row)
        message = render.render(summary).body
        self._note(
            Told(kind, day, recount, self.in_force, live, {}, summary.moves, dict(rows), message, summary.explanations)
        )

    def _note(self, told: Told) -> None:
        """With what people query now."""
        table = self.shop.query("select metric, day, value, numerator, denominator from analytics.daily_metrics")
        with connect() as connection:
            live = publications.live(connection)
        self.in_force = replace(
            told, publication=live, table={(metric, of): tuple(numbers) for metric, of, *numbers in table}
        )
        self.told.append(self.in_force)

    @contextmanager
    def model_changed(self, name: str, this: str, to: str) -> Iterator[None]:
        """Runs are of a project with another model; dbt needs no parse for that."""
        project, facts, unique_id = self.project, self.facts, f"model.greenery.{name}"
        node = deepcopy(project.untested.manifest.nodes[unique_id])
        assert this in node.raw_code
        node.raw_code = node.raw_code.replace(this, to)
        node.checksum = FileHash.from_contents(node.raw_code)
        nodes = {**project.manifest.nodes, unique_id: node}
        self.project = Project(project.project, project.work, replace(project.manifest, nodes=nodes))
        changed = facts.nodes[unique_id] | {"checksum": node.checksum.to_dict(), "raw_code": node.raw_code}
        self.facts = replace(facts, nodes=facts.nodes | {unique_id: changed})
        yield
        self.project, self.facts = project, facts

    @property
    def loads(self) -> list[Told]:
        """What a day's load changed of what was told before."""
        return [one for one in self.told if one.kind in ("a load", "by hand")]

    @property
    def run_id(self) -> str:
        """The run that began last."""
        return f"run {self.runs}"

    def build(self) -> None:
        """As tasks do: each result is left in `ops`, where the gate reads it."""
        views = () if self.runs == 1 else ("--exclude", "config.materialized:view")  # they stay what they are
        results = nodes.from_dbt(self.project.untested.results("build", "--select", *self.models, *views))
        assert {one.status for one in results} <= {"success", "no-op"}, results
        with connect() as connection:
            node_results.record(connection, self.run_id, "a task", 1, results)
            node_results.keep_compiled(connection, self.run_id, results)

    @cached_property
    def facts(self) -> Manifest:
        """The manifest of a project that has only what is built here each day."""
        whole = manifest.read(self.project.work / "target" / "manifest.json")
        names = self.project.untested.names("--select", *self.models, "--exclude", "config.materialized:view")
        return Manifest(
            {key: node for key, node in whole.nodes.items() if node["name"] in names},
            whole.sources,
            metrics=whole.metrics,
            semantic_models=whole.semantic_models,
        )


@pytest.fixture(scope="module")
def played(shop: KeptShop, projects: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weeks]:
    """The weeks, played once."""
    played = Weeks(shop, projects, tmp_path_factory.mktemp("weeks"))
    try:
        played.play()
        yield played
    finally:
        played.forget()
        played.clock.end()


def test_every_figure_of_every_day_is_what_the_csvs_say(played: Weeks):
    for one in played.told:
        if one.kind != "otherwise":
            counted = {
                (metric, day): one.recount.of(metric, day, day)
                for metric in SIDES
                for day in days(one.recount.first_day, one.recount.last_day)
            }
            expected = {key: (this.value, this.numerator, this.denominator) for key, this in counted.items()}
            found = {key: numbers for key, numbers in one.table.items() if key[0] in SIDES}
            assert {key: numbers for key, numbers in found.items() if expected.get(key) != numbers} == {}, one.day
            assert found.keys() == expected.keys()


def test_each_closed_day_month_and_year_that_moved_is_told_and_no_other(played: Weeks):
    for one in played.loads:
        found = {(move.metric, move.period, move.starts): (move.told, move.value) for move in one.moves}
        assert found == moved(one.former, one), one.day


def test_the_rows_behind_a_move_are_those_that_differ_between_the_folders(played: Weeks):
    for one in played.loads:
        for move in one.moves:
            if move.period is Period.DAY:
                rows = behind(one.former, one, move)
                assert one.rows.get((move.metric, move.starts), {}) == rows, (one.day, move)


def test_the_parts_of_a_move_add_up_to_it(played: Weeks):
    """To the cent, and they count each row: of months and years those of all their days."""
    for one in played.loads:
        for move in one.moves:
            assert move.adds_up, (one.day, move)
            expected = defaultdict(lambda: [0, Decimal(0)])
            for (side, _), (what, before, after, _) in behind(one.former, one, move).items():
                expected[side, what][0] += 1
                expected[side, what][1] += (after or 0) - (before or 0)
            found = {(part.side, part.what): [part.rows, part.amount] for part in move.parts}
            assert found == expected, (one.day, move)


def test_every_figure_of_every_message_is_told_as_it_was_then(played: Weeks):
    """Whatever became of it since: it was corrected, published by hand, or rolled back."""
    with connect() as connection:
        stated = played.shop.query(
            "select metrics.run_id, metric, day, value, publication_id, published_at"
            " from ops.metrics join ops.publications using (publication_id)"
        )
        assert {run for run, *_ in stated} == {f"run {number}" for number in range(1, played.runs + 1)}
        for run, metric, day, value, publication_id, at in stated:
            then = told.as_told(connection, metric, day, at)
            assert float(then.value) == value, (run, metric)
            assert figures.stated(connection, publication_id)[metric] == then


def test_what_people_read_after_a_rollback_is_told_as_it_was_before(played: Weeks):
    for one in played.told:
        with connect() as connection:
            for move in (move for move in one.moves if move.period is Period.DAY):
                for then in (one, one.former):
                    value = told.as_told(connection, move.metric, move.starts, then.publication.published_at).value
                    assert value == then.table[move.metric, move.starts][0]


def test_what_is_built_anew_moves_nothing(played: Weeks):
    [one] = [one for one in played.told if one.kind == "rebuilt"]
    assert one.moves == ()


def test_a_changed_model_is_told_as_the_cause_and_no_row_is(played: Weeks):
    otherwise, before = ([one for one in played.told if one.kind == kind] for kind in ("otherwise", "as before"))
    for one in (*otherwise, *before):
        assert {move.metric for move in one.moves} == {"revenue"}
        for move in one.moves:
            assert not move.parts
            assert [cause.kind for cause in move.causes] == ["model"]
            assert "int_daily_figures" in move.causes[0].says
        assert "int_daily_figures" in one.message


def test_the_weeks_have_every_kind_of_move(played: Weeks):
    """Or the tests above would hold of too little."""
    moves = [(one, move) for one in played.loads for move in one.moves]
    assert {move.period for _, move in moves} == set(Period)
    assert {part.what for _, move in moves for part in move.parts} == set(What)
    assert {move.metric for _, move in moves} == SIDES.keys()


def test_a_message_names_what_moved_by_how_much_and_by_which_orders(played: Weeks):
    """To the digits that it shows, and no other figure than a recount gives."""
    for one in played.loads:
        expected = moved(one.former, one)
        _, _, section = one.message.partition("Moved since it was told:\n")
        lines = [line for line in section.split("\n\n")[0].splitlines() if line.startswith("• ")]
        for line in lines:
            found = SAYS.match(line)
            assert found, line
            key = named(found["figure"], played.facts)
            was, is_ = expected[key]
            difference = is_ - was
            assert found["way"] == ("higher" if difference > 0 else "lower"), line
            assert shows(found["now"], is_), line
            assert shows(found["then"], was), line
            assert shows(found["by"], abs(difference), off=2), line  # what is between two rounded numbers
            rows = behind(one.former, one, Move(*key, was, is_))
            keys = {row for _, row in rows}
            assert set(ORDERS.findall(found["rows"])) <= keys, line
            late = {row for (_, row), (what, *_) in rows.items() if what is What.LATE}
            if key[0] in ("orders", "revenue", "paid", "units") and late:
                assert f"{len(late)} order{'s'[: len(late) > 1]} came late" in found["rows"], line
        assert bool(lines) == any(not move.usual for move in one.moves), one.message


def test_why_a_figure_differs_adds_up_to_what_the_csvs_say(played: Weeks):
    explained_of = [(one, explanation) for one in played.loads for explanation in one.explanations]
    assert {explanation.metric for _, explanation in explained_of} == {"orders", "revenue", "conversion"}
    for one, explanation in explained_of:
        metric, day, former = explanation.metric, explanation.day, explanation.former_day
        assert explanation.value == one.recount.of(metric, day, day).value
        assert explanation.former == one.recount.of(metric, former, former).value
        for split in explanation.splits:
            assert sum(share.amount for share in split.shares) == explanation.difference, (one.day, split)


def test_what_usually_comes_late_is_counted_alone_once_that_is_learned(played: Weeks):
    """From the fifteenth publication on; never where something else than late rows is behind it."""
    usual = [(number, one, move) for number, one in enumerate(played.loads) for move in one.moves if move.usual]
    assert min(number for number, *_ in usual) == 15
    for _, one, move in usual:
        assert {what for what, *_ in behind(one.former, one, move).values()} == {What.LATE}, (one.day, move)
    for one in played.loads:
        days = sum(move.usual and move.period is Period.DAY for move in one.moves)
        counted = USUAL.search(one.message)
        assert int(counted[1]) == days if days else counted is None, one.message


def test_a_day_of_which_much_came_late_is_told_though_lateness_is_usual(played: Weeks):
    [last] = [one for one in played.loads if one.day == weeks.FIRST_DAY + timedelta(days=27)]
    assert "Revenue of Thu 8 Jan" in last.message  # of which orders were stuck for three days
    assert USUAL.search(last.message)


def named(figure: str, facts: Manifest) -> tuple[str, Period, date]:
    """Which figure is meant by "Revenue of Mon 15 Dec", "… of December 2025" or "… of 2025"."""
    label, when = figure.split(" of ", 1)
    [metric] = [one["name"] for one in facts.metrics.values() if one["label"] == label]
    for day in days(weeks.BEGINS.replace(day=1, month=1), weeks.FIRST_DAY + timedelta(days=28)):
        if when.removesuffix(f" {day.year}") == words.weekday(day):
            return metric, Period.DAY, day
        if day.day == 1 and when.removesuffix(f" {day.year}") == f"{day:%B}":
            return metric, Period.MONTH, day
    return metric, Period.YEAR, date(int(when), 1, 1)


def shows(shown: str, true: Decimal, off: int = 1) -> bool:
    """Whether a number in a message, such as "$1,755", "73.7 %" or "1.5 points", is `off` by half of its last digit."""
    number = Decimal(re.sub(r"[^0-9.]", "", shown))
    percent = 100 if "%" in shown or "points" in shown else 1
    return abs(true * percent - number) <= off * Decimal("0.5").scaleb(number.as_tuple().exponent)


def moved(former: Told | None, now: Told) -> dict[tuple[str, Period, date], tuple[Decimal | None, Decimal | None]]:
    """What differs of the days, months and years that were over when it was told: as it was told, and as it is."""
    found = {}
    if former is None:
        return found
    for metric in SIDES:
        last_difference = (Decimal(0), Decimal(0))
        for day in days(former.recount.first_day, former.day):
            was, is_ = (one.recount.of(metric, day, day) for one in (former, now))
            difference = (is_.numerator - was.numerator, (is_.denominator or 0) - (was.denominator or 0))
            # What moved a running metric is told of the first day alone.
            if was.value != is_.value and not (metric in RUNNING and difference == last_difference):
                found[metric, Period.DAY, day] = (was.value, is_.value)
            last_difference = difference
            for period in (Period.MONTH, Period.YEAR):
                if day == ends(day, period):
                    first = begins(day, period)
                    was, is_ = (one.recount.of(metric, first, day) for one in (former, now))
                    if was.value != is_.value:
                        found[metric, period, first] = (was.value, is_.value)
    return found


def behind(former: Told, now: Told, move: Move) -> dict[tuple[str, str], tuple]:
    """By side and key, the rows that count otherwise: what became of each, before, after, and its other day."""
    first = date.min if move.metric in RUNNING else move.starts
    last = move.starts if move.period is Period.DAY else ends(move.starts, move.period)
    found = {}
    for side, what in zip(Side, SIDES[move.metric], strict=True):
        if what:
            before, after = former.recount.rows[what], now.recount.rows[what]
            for key in before.keys() | after.keys():
                was, is_ = before.get(key), after.get(key)
                counted, counts = (one[1] if one and first <= one[0] <= last else None for one in (was, is_))
                if (counted or 0) != (counts or 0):
                    found[side, key] = became(was, is_, counted, counts)
    return found


def became(was: tuple | None, is_: tuple | None, before: Decimal | None, after: Decimal | None) -> tuple:
    """What became of a row that counted for something on a day."""
    if before is None:
        return (What.MOVED_IN, None, after, was[0]) if was else (What.LATE, None, after, None)
    if after is None:
        return (What.MOVED_OUT, before, None, is_[0]) if is_ else (What.GONE, before, None, None)
    return What.CORRECTED, before, after, None


def begins(day: date, period: Period) -> date:
    """The first day of its month or year."""
    return day.replace(day=1) if period is Period.MONTH else day.replace(day=1, month=1)


def ends(day: date, period: Period) -> date:
    """The last one."""
    months = 1 if period is Period.MONTH else 12
    return begins(begins(day, period) + timedelta(days=31 * months), period) - timedelta(days=1)
