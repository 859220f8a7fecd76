"""Lives that have ended: noted as they end, and told as a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.dbt.lives.lived import ALONE, ON_A_SCHEDULER, Lived, noted, table

PASSED = Lived(1, 5, "abc", ALONE, 50.0, {"Run": 5, "Cleared": 1, "publish success": 4, "fault Killed": 2})
BROKEN = replace(PASSED, seed=2, broken="a rule", shortest="Life(whole)")


def test_of_a_life_the_last_line_counts_and_of_a_commit_its_own_lives(tmp_path: Path) -> None:
    file = tmp_path / "kept" / "lives.jsonl"
    assert noted("abc", file) == []
    cut_down, of_another = replace(BROKEN, shortest="Life(short)"), replace(PASSED, commit="def")
    for one in (PASSED, BROKEN, cut_down, of_another):
        one.note(file)
    assert noted("abc", file) == [PASSED, cut_down]
    assert noted(None, file) == [PASSED, cut_down, of_another]


def test_the_table_adds_up_what_there_was_in_lives_and_ends_with_those_that_broke_a_rule() -> None:
    lines = table([PASSED, BROKEN, replace(PASSED, where=ON_A_SCHEDULER)]).splitlines()
    assert lines[:8] == [
        "| lives | without a scheduler, abc | on a scheduler, abc |",
        "|---|---:|---:|",
        "| lived | 2 | 1 |",
        "| passed | 1 | 1 |",
        "| days | 10 | 5 |",
        "| runs | 12 | 6 |",
        "| publishes | 8 | 4 |",
        "| queries meanwhile | 0 | 0 |",
    ]
    assert {"| fault: killed | 4 | 2 |", "| step: load | 0 | 0 |", "| seconds a day | 10.0 | 10.0 |"} <= {*lines}
    assert lines[-5:] == [
        "Seed 2, 5 days, without a scheduler, abc: *a rule*",
        "",
        "```python",
        "Life(whole)",
        "```",
    ]


def test_without_lives_the_table_says_so() -> None:
    assert table([]) == "No life is noted."
