"""What `benchmarks.orchestration` runs, part by part, and how long that takes.

A way that would take long and says nothing new is left out of a part, and the part's table says so: ways that start dbt
in each task are run with twenty models alone, beside Greenery's own. How long they would take is reckoned
(`Way.seconds`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from benchmarks import generated, ways
from benchmarks.ways import Way
from include import words
from include.settings import PROJECT_ROOT

# Seconds of a run that are no model's; those to start an Airflow for some ways, and to write and parse a project.
A_RUN, AN_AIRFLOW, A_PROJECT = 5, 25, 15


@dataclass(frozen=True)
class Rounds:
    """How often a way is run: `timed` times, with one before and one after. Once, if that takes `patience` seconds."""

    timed: int = 3
    patience: float = 30

    def of(self, seconds: float) -> int:
        """How many runs there are of a way that takes so long."""
        return self.timed + 2 if seconds < self.patience else 1


@dataclass(frozen=True)
class Part:
    """A project in some ways beside `dbt build`, with so many tasks at a time, and as many threads in dbt.

    `goal`: ours takes at most so many times `dbt build`.
    """

    project: str
    ways: tuple[str, ...] = ("ours", "floor")
    threads: int = 4
    goal: float | None = None

    @property
    def name(self) -> str:
        """What it is called in a table."""
        return self.project if self.threads == 4 else f"{self.project} with {self.threads} threads"

    @property
    def chosen(self) -> list[Way]:
        """The ways that are run."""
        return [way for way in ways.offered(self.project) if way.name in self.ways]

    @property
    def left_out(self) -> list[Way]:
        """The other ones."""
        return [way for way in ways.offered(self.project) if way.name not in self.ways]

    def once(self, way: Way) -> float:
        """Seconds of one run, as reckoned."""
        work, wait = self._models * way.seconds, self._waits
        return A_RUN + max(work, wait) + min(work, wait) / 3  # most of the work is done while others wait

    def seconds(self, rounds: Rounds) -> float:
        """Seconds of the whole part, as reckoned."""
        airflows = {way.airflow for way in self.chosen}
        bare = self.once(ways.BARE)
        builds = rounds.of(bare) * bare * (len(airflows) if bare < rounds.patience else 1)
        runs = sum(rounds.of(self.once(way)) * self.once(way) for way in self.chosen)
        return A_PROJECT + AN_AIRFLOW * len(airflows) + builds + runs

    @cached_property
    def _models(self) -> int:
        if self.project == "greenery":
            return len(list((PROJECT_ROOT / "dbt" / "models").rglob("*.sql")))
        return len(generated.models(self.project))

    @cached_property
    def _waits(self) -> float:
        """Seconds that its models wait: by the threads, or along the longest way through the graph."""
        if self.project == "greenery":
            return 0
        made, ends = generated.models(self.project), []
        for model in made:
            ends.append(model.seconds + max((ends[one] for one in model.reads), default=0))
        return max(max(ends), sum(model.seconds for model in made) / self.threads)


_WITHOUT_DBT_STARTS = ("ours", "floor", "bash", "watcher", "fast")
PARTS = (
    Part("greenery", tuple(way.name for way in ways.GREENERY), goal=1.2),
    Part("20", tuple(way.name for way in ways.GENERATED)),
    Part("100", _WITHOUT_DBT_STARTS),
    Part("300", goal=2),
    Part("1000", ("ours",)),
    Part("300-slow", goal=1.2),
    Part("300-slow", threads=8),
    Part("300-slow", threads=16),
    Part("wide-300-slow"),
    Part("wide-300-slow", threads=16),
    Part("deep-300-slow"),
    Part("mattermost-slow"),
    Part("fhir-slow"),
)


def parts(projects: list[str], only: list[str], threads: list[int]) -> list[Part]:
    """The parts of these projects, or all; where that is given, in these ways alone and with so many threads.

    Raises ValueError for a project that there is not, or that can be run in none of these ways.
    """
    found: list[Part] = []
    for name in projects or dict.fromkeys(one.project for one in PARTS):
        if name != "greenery":
            generated.models(name)
        of_it = [one for one in PARTS if one.project == name] or [Part(name)]
        if threads:
            of_it = [replace(of_it[0], threads=number) for number in threads]
        found += [replace(one, ways=tuple(only)) for one in of_it] if only else of_it
    if wayless := [part.project for part in found if not part.chosen]:
        raise ValueError(f"{wayless[0]}: it can't be run as {', '.join(only)}")
    return found


def told(planned: list[Part], rounds: Rounds) -> str:
    """How long the parts take, in a line."""
    minutes = [part.seconds(rounds) / 60 for part in planned]
    each = ", ".join(f"{part.name} ({took:.0f})" for part, took in zip(planned, minutes, strict=True))
    return f"{words.count(len(planned), 'part')}, some {sum(minutes):.0f} minutes on two idle cores: {each}"
