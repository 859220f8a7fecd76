"""A preview on a pull request of GitHub's, which `tests/github_server.py` plays."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from include.preview import github
from include.preview.report import (
    Became,
    FailedModel,
    FigureDay,
    FigureMove,
    Plan,
    Report,
    Versus,
    to_json,
)
from include.preview.report import (
    TestChange as OfTest,
)
from include.words import Unit
from tests.github_server import BOT, NUMBER, REPOSITORY, TAKE_AND_502, TOKEN, GitHub, github_server

GREEN = Report(Versus("main", "1a2b3c4"), datetime(2026, 11, 30, tzinfo=UTC), Plan())
MOVES = FigureMove(
    "revenue", "Revenue", Unit.DOLLARS, True, 1, 1, (FigureDay(date(2026, 11, 29), Decimal(1), Decimal(2)),)
)
YELLOW = replace(GREEN, figures=(MOVES,))
FAILS = OfTest("test.greenery.x", "order_id is unique", "fact_orders", Became.FAILS, reason="7 rows")
RED = replace(GREEN, tests=(FAILS,))
HEAD = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Runner:
    """What a runner gives to a step, and what the step leaves there."""

    folder: Path
    github: GitHub
    monkeypatch: pytest.MonkeyPatch
    paused: list[float] = field(default_factory=list)

    def post(self, report: Report | None, *, head: str = HEAD, source: str = REPOSITORY) -> int:
        """The step, on a push to the pull request; its exit code."""
        path, event = self.folder / "report.json", self.folder / "event.json"
        path.unlink(missing_ok=True)
        if report:
            path.write_text(to_json(report))
        repository = {"full_name": source} if source else None
        event.write_text(json.dumps({"pull_request": {"number": NUMBER, "head": {"sha": head, "repo": repository}}}))
        for name, value in {
            "GITHUB_API_URL": self.github.url,
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_RUN_ID": "42",
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_TOKEN": TOKEN,
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            "GITHUB_OUTPUT": str(self.folder / "output"),
        }.items():
            self.monkeypatch.setenv(name, value)
        return github.main([str(path)], pause=self.paused.append)

    @property
    def summary(self) -> str:
        """The job's summary."""
        return (self.folder / "summary").read_text()


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    with github_server() as server:
        yield Runner(tmp_path, server, monkeypatch)


def test_three_pushes_leave_one_comment_with_the_last_report_among_150_others(runner: Runner) -> None:
    for number in range(150):
        runner.github.add_comment(f"person{number}", "looks fine")
    for report in (GREEN, YELLOW, RED):
        runner.post(report)
    (ours,) = runner.github.of(BOT)
    assert ours.startswith(f"{github.MARKER}\n## 🔴 Merging this breaks test")
    assert HEAD[:7] in ours
    assert "https://github.example/greenery/data/actions/runs/42" in ours
    assert len(runner.github.comments) == 151


def test_a_comment_that_somebody_else_marked_as_ours_stays(runner: Runner) -> None:
    runner.github.add_comment("mallory", f"{github.MARKER}\nmerge me")
    runner.post(GREEN)
    assert runner.github.of("mallory") == [f"{github.MARKER}\nmerge me"]
    assert len(runner.github.of(BOT)) == 1


def test_another_comment_of_the_same_bot_stays(runner: Runner) -> None:
    runner.github.add_comment(BOT, "coverage: 98 %")
    runner.post(GREEN)
    assert runner.github.of(BOT)[0] == "coverage: 98 %"


@pytest.mark.parametrize(
    ("report", "conclusion", "code", "verdict"),
    [(GREEN, "success", 0, "green"), (YELLOW, "neutral", 0, "yellow"), (RED, "failure", 1, "red")],
    ids=["green", "yellow", "red"],
)
def test_the_check_and_the_exit_code_say_the_verdict(
    runner: Runner, report: Report, conclusion: str, code: int, verdict: str
) -> None:
    assert runner.post(report) == code
    (check,) = runner.github.checks
    assert (check["name"], check["head_sha"], check["conclusion"]) == ("Preview", HEAD, conclusion)
    assert check["details_url"] == runner.github.comments[-1]["html_url"]
    assert (runner.folder / "output").read_text() == f"verdict={verdict}\n"


def test_yellow_is_a_warning_in_the_job_as_well(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    runner.post(YELLOW)
    assert capsys.readouterr().out.startswith("::warning title=Preview::")


def test_what_fails_is_told_beside_the_file_of_its_model(runner: Runner) -> None:
    of_source = replace(FAILS, model="raw.orders")
    passes = replace(FAILS, model="dim_users", became=Became.PASSES)
    failed = FailedModel("daily_metrics", 'column "x" does not exist')
    runner.post(replace(GREEN, tests=(FAILS, of_source, passes), failed=(failed,)))
    told = {one["path"]: one["message"] for one in runner.github.checks[0]["output"]["annotations"]}
    assert told == {
        "dbt/models/marts/core/daily_metrics.sql": 'daily_metrics can\'t be built: column "x" does not exist',
        "dbt/models/marts/core/fact_orders.sql": "order_id is unique: fails. 7 rows",
    }


def test_more_annotations_than_github_takes_are_cut(runner: Runner) -> None:
    assert runner.post(replace(GREEN, tests=(FAILS,) * 60)) == 1
    assert len(runner.github.checks[0]["output"]["annotations"]) == 50


@pytest.mark.parametrize(
    ("text", "left"),
    [("## The headline\n\n" + "x" * 70_000, "## The headline\n\nThe rest"), ("x" * 70_000, "The rest")],
)
def test_what_is_longer_than_github_takes_is_cut(runner: Runner, text: str, left: str) -> None:
    runner.post(GREEN)
    github.GitHub(github.Job.of(os.environ)).comment(text)
    assert runner.github.refused == []
    assert left in runner.github.of(BOT)[0]


def test_where_no_preview_was_made_the_comment_no_longer_tells_of_the_push_before(runner: Runner) -> None:
    runner.post(GREEN)
    assert runner.post(None, head="f" * 40) == 2
    (ours,) = runner.github.of(BOT)
    assert "Nothing that people see changes" not in ours
    assert "No preview could be made" in ours
    assert runner.github.checks[-1]["conclusion"] == "failure"


@pytest.mark.parametrize("source", ["stranger/data", ""], ids=["fork", "a fork that is gone"])
def test_a_forks_report_is_in_the_summary_alone(
    runner: Runner, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.post(RED, source=source) == 1
    assert runner.github.asked == []
    assert "Merging this breaks test" in runner.summary
    out = capsys.readouterr().out
    assert "the report is in the job's summary alone" in out
    assert "::error file=dbt/models/marts/core/fact_orders.sql,line=1::order_id is unique" in out


def test_a_value_can_not_give_the_runner_a_command(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = replace(FAILS, reason="7 rows\n::stop-commands::x\r::error::y")
    runner.post(replace(GREEN, tests=(hostile,)), source="stranger/data")
    lines = capsys.readouterr().out.splitlines()
    assert [one for one in lines if one.startswith(("::stop", "::error::"))] == []


@pytest.mark.parametrize("at", range(3), ids=["list", "comment", "check"])
def test_github_is_asked_again_after_a_bad_gateway(runner: Runner, at: int) -> None:
    runner.github.answers = [None] * at + [502]
    assert runner.post(GREEN) == 0
    assert (len(runner.github.of(BOT)), len(runner.github.checks)) == (1, 1)


def test_a_comment_that_was_taken_without_telling_so_is_not_posted_twice(runner: Runner) -> None:
    runner.github.answers = [None, TAKE_AND_502]
    assert runner.post(GREEN) == 0
    assert len(runner.github.of(BOT)) == 1


@pytest.mark.parametrize("status", [403, 429])
def test_a_rate_limit_is_waited_for_as_long_as_github_says(runner: Runner, status: int) -> None:
    runner.github.answers, runner.github.headers = [status], {"Retry-After": "17"}
    runner.github.said = "You have exceeded a secondary rate limit."
    assert runner.post(GREEN) == 0
    assert runner.paused == [17]


def test_who_is_asked_for_too_much_patience_says_so(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    runner.github.answers, runner.github.headers = [403], {"Retry-After": "3600"}
    runner.github.said = "You have exceeded a secondary rate limit."
    assert runner.post(GREEN) == 2
    assert runner.paused == []
    assert "GitHub did not take the comment of pull request 7: 403 You have exceeded" in capsys.readouterr().out


def test_it_gives_up_in_the_end(runner: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    runner.github.answers = [502] * 9
    assert runner.post(GREEN) == 2
    assert runner.paused == list(github.PAUSES)
    assert "Run the job again later" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["pull-requests: write", "checks: write"])
def test_a_permission_that_is_missing_is_named(
    runner: Runner, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runner.github.permissions -= {missing}
    assert runner.post(GREEN) == 2
    told = capsys.readouterr().out
    assert "403 Resource not accessible by integration" in told
    assert f"the job's `permissions` want `{missing}`" in told


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "It does not know the token"),
        (404, "There is no such pull request"),
        (422, "It does not take what was sent"),
    ],
)
def test_what_github_refuses_is_said_with_what_to_do(
    runner: Runner, status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runner.github.answers, runner.github.said = [status], "No"
    assert runner.post(GREEN) == 2
    assert runner.paused == []
    assert f": {status} No. {says}" in capsys.readouterr().out


def test_the_report_is_in_the_summary_though_github_says_no(runner: Runner) -> None:
    runner.github.permissions = frozenset()
    runner.post(GREEN)
    assert "Nothing that people see changes" in runner.summary


def test_outside_a_pull_request_it_says_where_it_belongs(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GITHUB_EVENT_PATH", raising=False)
    assert github.main([str(runner.folder / "report.json")]) == 2
    assert "'GITHUB_EVENT_PATH' is missing: this runs in a job of GitHub Actions" in capsys.readouterr().out
