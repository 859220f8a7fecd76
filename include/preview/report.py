"""A preview's report as data: what each part of it found. It goes to JSON and back (`to_json`, `from_json`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from pydantic import TypeAdapter

from include.words import Unit


class Kind(StrEnum):
    """What a change of the project does to a model.

    `comments` is a model that makes the same rows: what differs is beside them, as comments, a description or an owner.
    `downstream` is one that only reads a changed one.
    """

    NEW = "new"
    CHANGED = "changed"
    COMMENTS = "comments"
    GONE = "gone"
    DOWNSTREAM = "downstream"


@dataclass(frozen=True)
class Cost:
    """What a model costs to build in full on the size of today; None where nobody knows."""

    seconds: float | None = None
    rows: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class ColumnChange:
    """A column that the project declares otherwise: its type before and after, None where there is no such column."""

    column: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class ModelChange:
    """A model that a change touches.

    `reasons` are what differs: "SQL", "materialized: table → incremental", "macro priced_items", "variable
    come_back_days", "description". `is_rebuilt` says that the next daily run builds all of it, where it would have
    taken what changed. `key` are the columns that tell its rows apart, () where nothing says so. `personal` are those
    of its columns that are never shown. `is_mart`: people query it.
    """

    unique_id: str
    name: str
    kind: Kind
    reasons: tuple[str, ...] = ()
    materialized: str = "table"
    is_rebuilt: bool = False
    is_mart: bool = True
    key: tuple[str, ...] = ()
    personal: tuple[str, ...] = ()
    columns: tuple[ColumnChange, ...] = ()
    owner: str | None = None
    cost: Cost = Cost()


@dataclass(frozen=True)
class Exposure:
    """A dashboard or another use that stands on what a change touches, and whose it is."""

    name: str
    label: str
    owner: str | None
    models: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What a change touches, by two states of the project alone; nothing was built for it.

    `models` are in the order of the project's lines. `edges` are names of models, from what is read to what reads.
    `tests_new` and `tests_gone` are names of data tests. `tests_changed` are unique ids of those that are new or look
    for something else, unit tests among them. `figures_new` and `figures_gone` are what the message newly tells, and
    what it tells no more.
    """

    models: tuple[ModelChange, ...] = ()
    snapshots: tuple[ModelChange, ...] = ()
    edges: tuple[tuple[str, str], ...] = ()
    exposures: tuple[Exposure, ...] = ()
    tests_new: tuple[str, ...] = ()
    tests_gone: tuple[str, ...] = ()
    tests_changed: tuple[str, ...] = ()
    figures_new: tuple[str, ...] = ()
    figures_gone: tuple[str, ...] = ()

    def built(self) -> tuple[ModelChange, ...]:
        """The models whose rows a build may make otherwise: these a preview builds."""
        return tuple(one for one in self.models if one.kind in (Kind.NEW, Kind.CHANGED, Kind.DOWNSTREAM))

    def with_costs(self, costs: Mapping[str, Cost]) -> Plan:
        """The same with what is known of costs, by unique ids."""
        models, snapshots = (
            tuple(replace(one, cost=costs.get(one.unique_id, one.cost)) for one in ones)
            for ones in (self.models, self.snapshots)
        )
        return replace(self, models=models, snapshots=snapshots)


@dataclass(frozen=True)
class ColumnDiff:
    """In how many rows, of those that both have, a column holds something else."""

    column: str
    rows: int


@dataclass(frozen=True)
class Example:
    """A row by its key, as text: what it holds before and after, by column; no personal column is among them.

    `before` is None for a row that is added, `after` for one that is gone.
    """

    key: str
    before: dict[str, str | None] | None
    after: dict[str, str | None] | None


@dataclass(frozen=True)
class RowsDiff:
    """A model's rows, before and after, by its key: of both, and of one alone.

    `renamed` are columns of which all values stand under another name. `added_columns` and `gone_columns` are others.
    `repeated` counts the keys that occur more than once after, and did not before. `key` is () where rows were compared
    as wholes; a row that changed is then one gone and one added.
    """

    name: str
    key: tuple[str, ...]
    before: int
    after: int
    added: int
    gone: int
    changed: int
    columns: tuple[ColumnDiff, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    added_columns: tuple[str, ...] = ()
    gone_columns: tuple[str, ...] = ()
    retyped: tuple[ColumnChange, ...] = ()
    repeated: int = 0
    examples: tuple[Example, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether every row and column is as before."""
        return not (self.added_columns or self.lost_columns or self.has_other_rows)

    @property
    def only_adds_columns(self) -> bool:
        """Whether all that people have is as before, and there are new columns beside it."""
        return bool(self.added_columns) and not (self.lost_columns or self.has_other_rows)

    @property
    def has_other_rows(self) -> bool:
        """Whether rows are added, gone or changed, or a key is there more than once."""
        return bool(self.added or self.gone or self.changed or self.repeated)

    @property
    def lost_columns(self) -> tuple[str, ...]:
        """Columns that can no longer be queried as they were: renamed, gone, of another type."""
        return (*(old for old, _ in self.renamed), *self.gone_columns, *(change.column for change in self.retyped))


@dataclass(frozen=True)
class FigureDay:
    """What a metric tells of a day before and after; None where it tells nothing of it."""

    day: date
    before: Decimal | None
    after: Decimal | None


@dataclass(frozen=True)
class FigureMove:
    """A metric that tells other values: on how many of the days that were compared, and those days, the newest first.

    `is_told`: it is among the figures of the message.
    """

    metric: str
    label: str
    unit: Unit
    is_told: bool
    compared: int
    moved: int
    days: tuple[FigureDay, ...]


class Became(StrEnum):
    """What becomes of a test."""

    FAILS = "fails"
    WARNS = "warns"
    PASSES = "passes"
    STILL_FAILS = "still fails"
    STILL_WARNS = "still warns"
    NOT_RUN = "can't run"


@dataclass(frozen=True)
class TestChange:
    """A test whose result is worth telling: it newly fails, warns or passes, or it still does.

    `rows` is how many rows it finds, None where nobody knows. `reason` is dbt's or Postgres' message, without data.
    `differs` is how the rows of a unit test differ, as dbt draws it: they are made up, so they may be shown.
    """

    unique_id: str
    name: str
    model: str
    became: Became
    rows: int | None = None
    reason: str = ""
    is_new: bool = False
    owner: str | None = None
    differs: str = ""

    @property
    def is_unit_test(self) -> bool:
        """Whether it is one of a model's SQL: it does not run daily, and holds no publish back."""
        return self.unique_id.startswith("unit_test.")


@dataclass(frozen=True)
class FailedModel:
    """A model that could not be built: dbt's or Postgres' message without data, and what was not built behind it."""

    name: str
    reason: str
    behind: tuple[str, ...] = ()
    breaks_contract: bool = False


@dataclass(frozen=True)
class BrokenReader:
    """Somebody's view or function on a mart that would not work after the publish, and why."""

    name: str
    kind: str
    owner: str
    mart: str
    why: str


@dataclass(frozen=True)
class SlowModel:
    """What a changed model costs on an ordinary day, with a day's changes; `seconds_at_ten` where history is ten times.

    `whole` are relations that its plan reads from end to end, with their rows, each day. `plan` is Postgres' own words.
    `differs`: rows that the day's build made otherwise than the full build did, which is a fault of the model.
    """

    name: str
    seconds: float
    seconds_at_ten: float
    whole: tuple[tuple[str, int], ...]
    plan: str = ""
    differs: int = 0

    @property
    def is_warned_of(self) -> bool:
        """Whether somebody should look at it before the merge."""
        return bool(self.whole) or self.differs > 0


class Verdict(StrEnum):
    """Whether to merge: `red` where something breaks, `yellow` where people will see other figures or rows."""

    RED = "red"
    YELLOW = "yellow"
    GREEN = "green"


@dataclass(frozen=True)
class Versus:
    """What the new state of the project is compared with.

    `base` is what people call it ("main"), `commit` its short hash. `published_at` is when the marts were published
    that were compared with; None where they were built from the same raw by the base's SQL, and `why` says why. Where
    nothing had to be built it is None and `why` is "". `is_same`: no file of the project differs.
    """

    base: str
    commit: str
    published_at: datetime | None = None
    why: str = ""
    is_same: bool = False


@dataclass(frozen=True)
class Report:
    """All that a preview found. `message` is the Slack message as it would read, in plain text; "" for none."""

    versus: Versus
    made_at: datetime
    plan: Plan
    failed: tuple[FailedModel, ...] = ()
    rows: tuple[RowsDiff, ...] = ()
    figures: tuple[FigureMove, ...] = ()
    tests: tuple[TestChange, ...] = ()
    readers: tuple[BrokenReader, ...] = ()
    slow: tuple[SlowModel, ...] = ()
    message: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def kept(self) -> tuple[RowsDiff, ...]:
        """The rows of models that are there before and after."""
        others = {one.name for one in self.plan.models if one.kind in (Kind.NEW, Kind.GONE)}
        return tuple(one for one in self.rows if one.name not in others)

    @property
    def moved_rows(self) -> tuple[RowsDiff, ...]:
        """Models that were there before and have other rows now."""
        return tuple(one for one in self.kept if one.has_other_rows)

    @property
    def lost_columns(self) -> tuple[tuple[RowsDiff, str], ...]:
        """Columns of marts that people can no longer query as they did, each with what is known of its model."""
        marts = {one.name for one in self.plan.models if one.is_mart}
        return tuple((one, column) for one in self.kept if one.name in marts for column in one.lost_columns)

    @property
    def gone_marts(self) -> tuple[ModelChange, ...]:
        """Marts that the project has no more."""
        return tuple(one for one in self.plan.models if one.kind is Kind.GONE and one.is_mart)

    @property
    def not_run(self) -> tuple[TestChange, ...]:
        """Tests that can't run for a reason of their own: not because their model is not there."""
        missing = {name for one in self.failed for name in (one.name, *one.behind)}
        return tuple(one for one in self.newly(Became.NOT_RUN) if one.model not in missing)

    def newly(self, became: Became) -> tuple[TestChange, ...]:
        """The tests of which this becomes."""
        return tuple(one for one in self.tests if one.became is became)

    @property
    def verdict(self) -> Verdict:
        """Red, yellow or green."""
        breaks = self.failed or self.newly(Became.FAILS) or self.newly(Became.NOT_RUN)
        if breaks or self.lost_columns or self.gone_marts or self.readers:
            return Verdict.RED
        moved = (
            self.figures
            or self.plan.figures_gone
            or self.newly(Became.WARNS)
            or any(one.is_warned_of for one in self.slow)
        )
        if moved or any(not one.is_same and not one.only_adds_columns for one in self.kept):
            return Verdict.YELLOW
        return Verdict.GREEN


_REPORT = TypeAdapter(Report)


def to_json(report: Report) -> str:
    """A report as JSON."""
    return _REPORT.dump_json(report, indent=2).decode()


def from_json(text: str) -> Report:
    """The report that `to_json` wrote. Raises ValueError for anything else."""
    return _REPORT.validate_json(text)
