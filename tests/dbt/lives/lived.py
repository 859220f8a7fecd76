"""Lives that were lived: a line each in `.local/lives.jsonl` as they end, and a table of them for docs/reliability.md.

`make torture` prints that of its commit when it ends, and when it is stopped; `python -m tests.dbt.lives` at any time.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from include.settings import PROJECT_ROOT
from tests.dbt.lives.life import Fault, Life, Step

NOTED = PROJECT_ROOT / ".local" / "lives.jsonl"
ALONE, ON_A_SCHEDULER = "without a scheduler", "on a scheduler"


@dataclass(frozen=True)
class Lived:
    """A life that has ended. `days` are those that it was to have; `broken` is the rule that it broke, if any.

    `shortest` is then the shortest life that breaks it, as Python; the whole one until it is cut down.
    """

    seed: int
    days: int
    commit: str
    where: str
    seconds: float
    tally: dict[str, int]
    broken: str = ""
    shortest: str = ""

    def note(self, file: Path = NOTED) -> None:
        """Add a line; it replaces an earlier one of the same life. Several processes may do so at once."""
        file.parent.mkdir(exist_ok=True)
        with file.open("a") as lines:
            lines.write(f"{json.dumps(asdict(self))}\n")


def of(life: Life, where: str, seconds: float, tally: Counter[str], broken: str = "") -> Lived:
    """A life that has just ended, of the project as it is here."""
    return Lived(
        life.seed, len(life.days), commit(), where, round(seconds, 1), dict(tally), broken, str(life) * bool(broken)
    )


@cache
def commit() -> str:
    """The commit that is checked out; it says so where a file was changed since."""
    asked = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(asked, cwd=PROJECT_ROOT, capture_output=True, check=True, text=True).stdout.strip()


def noted(of_commit: str | None, file: Path = NOTED) -> list[Lived]:
    """The lives of a commit, or of all; of each the last line."""
    lines = []
    for line in file.read_text().splitlines() if file.exists() else ():
        with suppress(ValueError):  # of a process that was killed while it wrote
            lines.append(Lived(**json.loads(line)))
    lives = {(one.commit, one.where, one.days, one.seed): one for one in lines}
    return [one for one in lives.values() if of_commit in (None, one.commit)]


def table(lives: Iterable[Lived]) -> str:
    """Them as Markdown: a column for each commit and place, and below it each life that broke a rule."""
    columns: dict[str, list[Lived]] = {}
    for one in lives:
        columns.setdefault(f"{one.where}, {one.commit}", []).append(one)
    if not columns:
        return "No life is noted."
    counts = [_counts(column) for column in columns.values()]
    lines = [
        f"| lives | {' | '.join(columns)} |",
        f"|---|{'---:|' * len(columns)}",
        *(f"| {name} | {' | '.join(count[name] for count in counts)} |" for name in counts[0]),
    ]
    for name, column in columns.items():
        for one in sorted(column, key=lambda one: one.seed):
            if one.broken:
                lines.append(
                    f"\nSeed {one.seed}, {one.days} days, {name}: *{one.broken}*\n\n```python\n{one.shortest}\n```"
                )
    return "\n".join(lines)


def _counts(lives: list[Lived]) -> dict[str, str]:
    """The rows of a column, by name."""
    tally: Counter[str] = Counter()
    for one in lives:
        tally.update(one.tally)
    days = sum(one.days for one in lives)
    found = {
        "lived": len(lives),
        "passed": sum(not one.broken for one in lives),
        "days": days,
        "runs": tally["Run"] + tally["Cleared"],
        "publishes": tally["publish success"],
        "queries meanwhile": tally["queries meanwhile"],
        **{f"fault: {_words(kind)}": tally[f"fault {kind.__name__}"] for kind in Fault.__args__},
        **{f"step: {_words(kind)}": tally[kind.__name__] for kind in Step.__args__},
    }
    return {name: f"{count:,}" for name, count in found.items()} | {
        "seconds a day": f"{sum(one.seconds for one in lives) / max(days, 1):.1f}"
    }


def _words(kind: type) -> str:
    """A class' name as words."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in kind.__name__).strip()
