"""A life of a shop, as data: its days and the steps of each, all chosen by a seed before the first is taken.

Each step carries what it needs (a seed of its own, a fault), so that a life is the same with a step less: a failing
one can be cut down, printed, and played again from what was printed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

# Versions of the project that are deployed in turn: the model, and what its SQL says then. 0 is the project as it is.
# Of the last one no test can tell that it is wrong.
VERSIONS: tuple[tuple[str, str, str] | None, ...] = (
    None,
    ("fact_orders", "orders.order_total,", "cast(orders.order_total + 1 as numeric(16, 2)) as order_total,"),
    ("int_events", "    created_at\n", "    created_at + interval '1 hour' as created_at\n"),
    ("int_orders", "'second') }} / 3600.0", "'second') }} / 86400.0"),
)
TESTS_PASS = (0, 3)


# For how many days somebody mutes a test.
MUTED_FOR = 7

# The tasks of a run, and about how often each commits.
COMMITS = {"check_sources": 6, "transform": 30, "snapshot": 14, "history": 8, "publish": 10, "report": 14}


@dataclass(frozen=True)
class Killed:
    """The process of a task is killed at its `at`-th commit, which the server `heard` or not.

    Whether Airflow `tries_again`.
    """

    task: str
    at: int
    heard: bool
    tries_again: bool


@dataclass(frozen=True)
class Cut:
    """The connection alone is lost there; what a process does about that is its own."""

    task: str
    at: int
    heard: bool


@dataclass(frozen=True)
class Restarted:
    """Postgres itself is killed there, and comes up again."""

    task: str
    at: int
    heard: bool


@dataclass(frozen=True)
class Held:
    """Somebody who reads a mart leaves their transaction open."""


@dataclass(frozen=True)
class LoadedBetween:
    """A loader asks nobody and loads while the run builds."""


Fault = Killed | Cut | Restarted | Held | LoadedBetween


@dataclass(frozen=True)
class Load:
    """The shop's next day comes. Whether the loader tries `again` where it was stopped, the same day."""

    fault: Killed | Cut | Restarted | None = None
    again: bool = False


@dataclass(frozen=True)
class Edited:
    """Rows are corrected, moved, deleted, or come late; prices change."""

    seed: int
    times: int


@dataclass(frozen=True)
class Refused:
    """A delivery whose last table Postgres refuses, when the others are there already."""

    seed: int


@dataclass(frozen=True)
class Spoilt:
    """Hostile rows come in."""

    seed: int


@dataclass(frozen=True)
class Mended:
    """The shop delivers its rows as they were before they were spoilt."""


@dataclass(frozen=True)
class Run:
    """The daily run, whole. `tells` is who has its last word: its report, or the callback of a DAG that was killed."""

    fault: Fault | None = None
    everything: bool = False
    tells: str = "report"


@dataclass(frozen=True)
class Cleared:
    """Somebody clears the last run from its beginning."""

    fault: Fault | None = None


@dataclass(frozen=True)
class Decided:
    """Somebody rolls back, holds publishing back, lets it go on, or publishes what the last run built."""

    action: str


@dataclass(frozen=True)
class Muted:
    """Somebody mutes a test for a week: one that failed or warned last, where any did."""

    seed: int


@dataclass(frozen=True)
class Waited:
    """Days pass in which nothing happens."""

    days: int


@dataclass(frozen=True)
class Deployed:
    """A version of the dbt project is deployed."""

    version: int


@dataclass(frozen=True)
class Upgraded:
    """A new version of Greenery is deployed: its migrations are gone through, on a warehouse in use."""


Step = Load | Edited | Refused | Spoilt | Mended | Run | Cleared | Decided | Muted | Waited | Deployed | Upgraded


@dataclass(frozen=True)
class Life:
    """`few` says that only a few models are built, so that no message tells figures.

    `tested` says that the data tests run, so that hostile rows may come.
    """

    seed: int
    few: bool
    tested: bool
    days: tuple[tuple[Step, ...], ...] = field(repr=False)

    def __str__(self) -> str:
        """As Python reads it, and a person."""
        days = "".join(
            f"\n        ({', '.join(map(repr, day))},),  # day {number}" for number, day in enumerate(self.days)
        )
        return f"Life(\n    seed={self.seed}, few={self.few}, tested={self.tested}, days=({days}\n    ),\n)"

    @property
    def steps(self) -> int:
        """How many there are."""
        return sum(map(len, self.days))

    def without_days(self, first: int, after: int) -> Life:
        """The same without some days."""
        return replace(self, days=self.days[:first] + self.days[after:])

    def without_step(self, day: int, step: int) -> Life:
        """The same without a step."""
        shorter = self.days[day][:step] + self.days[day][step + 1 :]
        return replace(self, days=(*self.days[:day], *((shorter,) if shorter else ()), *self.days[day + 1 :]))

    def without_fault(self, day: int, step: int) -> Life | None:
        """The same without the fault of a step; None where it has none."""
        if getattr(self.days[day][step], "fault", None) is None:
            return None
        sound = replace(self.days[day][step], fault=None)
        steps = (*self.days[day][:step], sound, *self.days[day][step + 1 :])
        return replace(self, days=(*self.days[:day], steps, *self.days[day + 1 :]))


def draw(seed: int, days: int = 30, *, whole: bool = False) -> Life:
    """The life of a seed; a `whole` one has every model and every test, as a scheduler runs them, and more faults."""
    random = Random(f"life {seed}")  # noqa: S311 - no secret hangs on it
    tested = random.random() < 0.25 or whole
    few = (tested or random.random() < 0.7) and not whole
    return Life(seed, few, tested, tuple(_day(random, tested, 0.6 if whole else 0.3) for _ in range(days)))


def _day(random: Random, tested: bool, faults: float) -> tuple[Step, ...]:
    """What happens on a day, in any order: only what mends comes after what it mends. `faults`: of all runs."""
    chance = random.random
    before: list[Step] = [_load(random)] if chance() < 0.8 else []
    if chance() < 0.6:
        before.append(Edited(random.getrandbits(32), random.randint(1, 12)))
    if chance() < 0.1:
        before.append(Refused(random.getrandbits(32)))
    if chance() < 0.12:
        before.append(Deployed(random.choice(TESTS_PASS if tested else range(len(VERSIONS)))))
    if chance() < 0.05:
        before.append(Upgraded())
    if chance() < 0.1:
        before.append(Muted(random.getrandbits(32)))
    if chance() < 0.04:
        before.append(Waited(MUTED_FOR + 1))
    if chance() < 0.15:
        before.append(Decided(random.choice(["roll back", "roll back", "hold", "release", "publish"])))
    random.shuffle(before)
    runs = _runs(random, tested, faults)
    if chance() < 0.08:  # a hold, and its end
        by_hand = [Decided("publish")] if chance() < 0.4 else []
        runs = [Decided("hold"), *runs, *by_hand, Decided("release"), _run(random, faults)]
    if chance() < 0.1:
        runs.append(Decided("roll back"))
    if chance() < 0.15:
        runs.insert(0, Decided("release"))  # or nothing would be published from the first hold on
    return (*before, *runs)


def _runs(random: Random, tested: bool, faults: float) -> list[Step]:
    """The day's run, and what somebody does about it."""
    chance = random.random
    upgraded = [Upgraded()] if chance() < 0.1 else []
    if tested and chance() < 0.4:
        cleared = [*upgraded, Cleared()] if chance() < 0.5 else []
        # Somebody mutes what failed, and does not come back to it before the mute is over.
        muted = [Muted(random.getrandbits(32)), Waited(MUTED_FOR + 1), _run(random, faults)] if chance() < 0.2 else []
        return [Spoilt(random.getrandbits(32)), *_run_and_by_hand(random, faults), *muted, Mended(), *cleared]
    cleared = [*upgraded, Cleared(_fault(random) if chance() < 0.3 else None)] if chance() < 0.2 else []
    return [*_run_and_by_hand(random, faults), *cleared]


def _run_and_by_hand(random: Random, faults: float) -> list[Step]:
    """A run, and more often where it may fail to publish, somebody who does so by hand."""
    run = _run(random, faults)
    failed = isinstance(run.fault, Held) or getattr(run.fault, "task", None) in ("history", "publish")
    return [run, *([Decided("publish")] if random.random() < (0.4 if failed else 0.03) else [])]


def _load(random: Random) -> Load:
    fault = _on_the_wire(random, {"load": 1}) if random.random() < 0.15 else None
    return Load(fault, again=fault is not None and random.random() < 0.5)


def _run(random: Random, faults: float) -> Run:
    fault = _fault(random) if random.random() < faults else None
    # A callback is called once: a fault of its own would leave nobody to tell.
    tells = "callback" if fault is None and random.random() < 0.1 else "report"
    return Run(fault, everything=random.random() < 0.04, tells=tells)


def _fault(random: Random) -> Fault:
    return random.choice([_on_the_wire(random, COMMITS)] * 6 + [Held(), LoadedBetween()])


def _on_the_wire(random: Random, commits: dict[str, int]) -> Killed | Cut | Restarted:
    task = random.choice(list(commits))
    at, heard = random.randint(1, commits[task]), random.random() < 0.5
    tries_again = random.random() < 0.5
    return random.choice([Killed(task, at, heard, tries_again), Cut(task, at, heard), Restarted(task, at, heard)])
