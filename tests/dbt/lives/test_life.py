"""Lives as data: the same for a seed, told as Python reads it, and cut down to what a failure needs."""

from __future__ import annotations

from itertools import pairwise, product
from random import Random

from tests.dbt.edits import EDITS
from tests.dbt.lives import edits_that_pass
from tests.dbt.lives import life as names
from tests.dbt.lives.cut_down import cut_down
from tests.dbt.lives.life import (
    COMMITS,
    TESTS_PASS,
    Cleared,
    Cut,
    Decided,
    Deployed,
    Edited,
    Held,
    Killed,
    Life,
    Load,
    LoadedBetween,
    Restarted,
    Run,
    Step,
    draw,
)


def test_a_seed_has_one_life_and_what_is_printed_of_it_is_it() -> None:
    for seed in range(1, 30):
        life = draw(seed)
        assert eval(str(life), vars(names)) == life == draw(seed)  # noqa: S307 - what we printed ourselves
        assert draw(seed, days=10).days == life.days[:10]


NIGHT = [draw(seed, days=5) for seed in range(1, 501)]
# What is to come right after what: a decision is named by what it does, and a run that may fail to publish is apart.
ONE_AFTER_THE_OTHER = {
    ("hold", "Run"),
    ("Run", "release"),
    ("release", "Run"),
    ("a run in trouble", "publish"),
    ("a run in trouble", "Cleared"),
    ("Upgraded", "Cleared"),
    ("Muted", "Waited"),
    ("Waited", "Run"),
}


def word(step: Step) -> str:
    """What a step is called in such a pair."""
    if isinstance(step, Decided):
        return step.action
    fault = getattr(step, "fault", None)
    troubled = isinstance(fault, Held) or getattr(fault, "task", None) in ("history", "publish")
    return "a run in trouble" if troubled else type(step).__name__


def test_a_night_of_lives_has_each_step_each_fault_at_each_task_and_each_edit() -> None:
    """What is missing is named."""
    steps = [step for life in NIGHT for day in life.days for step in day]
    drawn: set[object] = {type(step) for step in steps}
    drawn |= {(type(step), type(step.fault), getattr(step.fault, "task", None)) for step in steps if with_fault(step)}
    drawn |= {("again", type(step.fault)) for step in steps if isinstance(step, Load) and step.again}
    drawn |= {(step.tells, step.everything) for step in steps if isinstance(step, Run)}
    drawn |= {pair for life in NIGHT for pair in pairwise(word(step) for day in life.days for step in day)}
    edits = {EDITS: False, edits_that_pass.EDITS: True}
    drawn |= {
        (tested, edit)
        for names, tested in edits.items()
        for life in NIGHT
        if life.tested == tested
        for day in life.days
        for step in day
        if isinstance(step, Edited)
        for edit in Random(step.seed).choices(names, k=step.times)  # noqa: S311
    }
    on_the_wire = (Killed, Cut, Restarted)
    expected: set[object] = {*Step.__args__, *ONE_AFTER_THE_OTHER}
    expected |= {*product((Run, Cleared), on_the_wire, COMMITS)}
    expected |= {*product((Run, Cleared), (Held, LoadedBetween), (None,)), *product((Load,), on_the_wire, ("load",))}
    expected |= {*product(("again",), on_the_wire), *product(("report", "callback"), (True, False))}
    expected |= {(tested, edit) for names, tested in edits.items() for edit in names}
    assert expected - drawn == set()


def with_fault(step: Step) -> bool:
    """Whether something strikes in it."""
    return getattr(step, "fault", None) is not None


def test_a_life_as_a_scheduler_runs_it_has_every_test_and_deploys_what_passes_them() -> None:
    lives = [draw(seed, whole=True) for seed in range(1, 30)]
    assert {(life.few, life.tested) for life in lives} == {(False, True)}
    deployed = {step.version for life in lives for day in life.days for step in day if isinstance(step, Deployed)}
    assert deployed == {*TESTS_PASS}


def test_a_life_is_cut_down_to_the_steps_without_which_it_does_not_fail() -> None:
    """Which are far apart: a project that changes, and a later run that is killed."""

    def fails(life: Life) -> bool:
        steps = [step for day in life.days for step in day]
        changed = [at for at, step in enumerate(steps) if isinstance(step, Deployed)]
        killed = [at for at, step in enumerate(steps) if isinstance(step, Run) and isinstance(step.fault, Killed)]
        return bool(changed and killed and changed[0] < killed[-1])

    life = next(life for life in map(draw, range(1, 100)) if fails(life))
    shortest = cut_down(life, fails)
    assert fails(shortest)
    assert shortest.steps == 2
