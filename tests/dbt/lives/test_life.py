"""Lives as data: the same for a seed, told as Python reads it, and cut down to what a failure needs."""

from __future__ import annotations

from tests.dbt.lives import life as names
from tests.dbt.lives.cut_down import cut_down
from tests.dbt.lives.life import TESTS_PASS, Deployed, Killed, Life, Run, draw


def test_a_seed_has_one_life_and_what_is_printed_of_it_is_it() -> None:
    for seed in range(1, 30):
        life = draw(seed)
        assert eval(str(life), vars(names)) == life == draw(seed)  # noqa: S307 - what we printed ourselves
        assert draw(seed, days=10).days == life.days[:10]


def test_each_kind_of_step_and_of_fault_is_in_some_life() -> None:
    steps = [step for seed in range(1, 30) for day in draw(seed).days for step in day]
    assert {type(step) for step in steps} == set(names.Step.__args__)
    assert {type(step.fault) for step in steps if isinstance(step, Run)} == {type(None), *names.Fault.__args__}


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
