"""A preview on a pull request of GitHub's: one comment, a check, and the verdict as the exit code.

`python -m include.preview.github REPORT.json` in a job of GitHub Actions, whose runner sets the variables that are read
here. Where there is no report, since no preview could be made, the comment and the check say that: they would tell of
the push before otherwise. Exit code: 0 for green and yellow, 1 for red, 2 where there is no preview or GitHub said no.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from include import settings
from include.preview import render
from include.preview.render.headline import headline
from include.preview.report import Became, Report, Verdict, from_json
from include.slack.message import short

# As whom a job's own token writes. The marker alone could stand in anybody's comment.
AUTHOR = "github-actions[bot]"
MARKER = "<!-- greenery: preview -->"
CHECK = "Preview"
# GitHub's limits: characters of a comment, and of a check's summary; annotations of one request.
COMMENT_CHARACTERS, SUMMARY_CHARACTERS, ANNOTATIONS = 65_536, 65_535, 50
# What fits on a line of the list of checks, and of an annotation.
TITLE_CHARACTERS, MESSAGE_CHARACTERS = 120, 1000
# Seconds to wait before each further attempt, and the most that GitHub may ask for.
PAUSES, PATIENCE = (1, 2, 4, 8), 120

# GitHub knows no yellow: `neutral` is grey, and does not keep anybody from merging.
_CONCLUSIONS = {Verdict.RED: "failure", Verdict.YELLOW: "neutral", Verdict.GREEN: "success"}
_LEVELS = {Became.FAILS: "failure", Became.NOT_RUN: "failure", Became.WARNS: "warning"}
_ADVICE = {
    401: "It does not know the token: the step wants GITHUB_TOKEN from `github.token`.",
    403: "The token may not do that: the job's `permissions` want `{needs}`.",
    404: "There is no such pull request, or the token may not see it: the job's `permissions` want `{needs}`.",
    422: "It does not take what was sent, which is a fault of include/preview/github.py.",
}

T = TypeVar("T")


class GitHubError(RuntimeError):
    """GitHub could not be told; the message says what, why and what to do."""


class _LaterError(Exception):
    """The same may work later; after `seconds`, where GitHub says so."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


@dataclass(frozen=True)
class Job:
    """What the runner says of the job: which pull request it is for, and how GitHub is reached."""

    api: str
    repository: str
    number: int
    head: str
    is_from_fork: bool
    url: str
    token: str = field(repr=False)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Job:
        """The job that these variables are set in. Raises GitHubError where it is none of a pull request."""
        try:
            pull = json.loads(Path(environment["GITHUB_EVENT_PATH"]).read_text())["pull_request"]
            repository = environment["GITHUB_REPOSITORY"]
            run, token = environment["GITHUB_RUN_ID"], environment["GITHUB_TOKEN"]
        except KeyError as error:
            raise GitHubError(
                f"{error} is missing: this runs in a job of GitHub Actions, on the event pull_request. "
                "Nothing was posted."
            ) from error
        # A fork that is deleted meanwhile has no repository.
        source = (pull["head"]["repo"] or {}).get("full_name")
        return cls(
            environment.get("GITHUB_API_URL", "https://api.github.com"),
            repository,
            pull["number"],
            pull["head"]["sha"],
            source != repository,
            f"{environment.get('GITHUB_SERVER_URL', 'https://github.com')}/{repository}/actions/runs/{run}",
            token,
        )


@dataclass(frozen=True)
class Annotation:
    """What is told beside a file: its path in the repository, how bad it is (GitHub's words), and the words."""

    path: str
    level: str
    message: str


@dataclass(frozen=True)
class Said:
    """What is told of a preview, or of there being none (`verdict` None)."""

    verdict: Verdict | None
    title: str
    text: str
    annotations: tuple[Annotation, ...] = ()


UNMADE = Said(
    None, "No preview could be made", "## 🔴 No preview could be made: a step before failed, and its log says why."
)


def said_of(report: Report, project: Path) -> Said:
    """What is told of a report; annotations stand beside the models' files, in the dbt project's folder."""
    files = {file.stem: os.path.relpath(file, settings.PROJECT_ROOT) for file in (project / "models").rglob("*.sql")}
    told = [(one.name, "failure", f"{one.name} can't be built: {one.reason}") for one in report.failed]
    told += [
        (one.model, _LEVELS[one.became], f"{one.name}: {one.became}. {one.reason}".strip())
        for one in report.tests
        if one.became in _LEVELS
    ]
    annotations = (Annotation(files[model], level, words) for model, level, words in told if model in files)
    told_of = tuple(annotations)[:ANNOTATIONS]
    return Said(report.verdict, headline(report), render.markdown(report), told_of)


class GitHub:
    """GitHub's side of a job. `pause` waits for some seconds."""

    def __init__(self, job: Job, pause: Callable[[float], None] = time.sleep) -> None:
        self._job, self._pause = job, pause
        self._client = httpx.Client(
            base_url=f"{job.api}/repos/{job.repository}",
            headers={
                "Authorization": f"Bearer {job.token}",
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": "2022-11-28",
            },
            timeout=30,
        )

    def comment(self, text: str) -> str:
        """Say it in the one comment of ours on the pull request; its address. Raises GitHubError."""
        before = f"{MARKER}\n"
        after = f"\n\n<sub>Preview of {self._job.head[:7]} · [how it was made]({self._job.url})</sub>"
        body = f"{before}{_bounded(text, COMMENT_CHARACTERS - len(before) - len(after))}{after}"
        # A comment that GitHub took without telling so is found by the next attempt.
        return self._tried("the comment", lambda: self._comment(body))

    def check(self, said: Said, details: str) -> None:
        """Say it as a check of the pull request's commit. Raises GitHubError."""
        run = {
            "name": CHECK,
            "head_sha": self._job.head,
            "status": "completed",
            "conclusion": _CONCLUSIONS[said.verdict] if said.verdict else "failure",
            "details_url": details,
            "output": {
                "title": short(said.title, TITLE_CHARACTERS),
                "summary": _bounded(said.text, SUMMARY_CHARACTERS),
                "annotations": [
                    {
                        "path": one.path,
                        "start_line": 1,
                        "end_line": 1,
                        "annotation_level": one.level,
                        "message": short(one.message, MESSAGE_CHARACTERS),
                    }
                    for one in said.annotations
                ],
            },
        }
        # Of two checks of one name GitHub shows the newer one, so a second attempt does no harm.
        self._tried("the check", lambda: self._ask("POST", "/check-runs", "checks: write", run))

    def _comment(self, body: str) -> str:
        needs = "pull-requests: write"
        page: str | None = f"/issues/{self._job.number}/comments?per_page=100"
        while page:
            answer = self._ask("GET", page, needs)
            for one in answer.json():
                if (one["user"] or {}).get("login") == AUTHOR and one["body"].startswith(MARKER):
                    there = f"/issues/comments/{one['id']}"
                    return self._ask("PATCH", there, needs, {"body": body}).json()["html_url"]
            page = answer.links.get("next", {}).get("url")
        there = f"/issues/{self._job.number}/comments"
        return self._ask("POST", there, needs, {"body": body}).json()["html_url"]

    def _tried(self, what: str, attempt: Callable[[], T]) -> T:
        pauses = iter(PAUSES)
        while True:
            try:
                return attempt()
            except _LaterError as later:
                pause = next(pauses, None)
                if pause is None or (later.seconds or 0) > PATIENCE:
                    raise GitHubError(
                        f"GitHub did not take {what} of pull request {self._job.number}: {later}. "
                        "Run the job again later; the report is in its summary."
                    ) from later
                self._pause(pause if later.seconds is None else later.seconds)

    def _ask(self, method: str, path: str, needs: str, content: dict[str, Any] | None = None) -> httpx.Response:
        try:
            answer = self._client.request(method, path, json=content)
        except httpx.TransportError as error:
            raise _LaterError(f"{type(error).__name__}: {error}") from error
        if answer.is_success:
            return answer
        why = f"{answer.status_code} {_words(answer)}"
        if answer.status_code >= 500:
            raise _LaterError(why, _seconds(answer))
        if answer.status_code in (403, 429) and "rate limit" in why:
            # GitHub's own advice, where it says nothing, is a minute.
            raise _LaterError(why, 60 if _seconds(answer) is None else _seconds(answer))
        advice = _ADVICE.get(answer.status_code, "").format(needs=needs)
        raise GitHubError(
            f"GitHub refused {method} {answer.url.path}: {why}. {advice} The report is in the job's summary."
        )


def _words(answer: httpx.Response) -> str:
    """GitHub's own words for why not."""
    try:
        told = answer.json()
        return " ".join([told["message"], *(str(one) for one in told.get("errors", ()))])
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase


def _seconds(answer: httpx.Response) -> float | None:
    """How long GitHub wants us to wait; None where it does not say."""
    if after := answer.headers.get("retry-after"):
        return float(after)
    if answer.headers.get("x-ratelimit-remaining") == "0" and "x-ratelimit-reset" in answer.headers:
        return max(0.0, float(answer.headers["x-ratelimit-reset"]) - time.time())
    return None


def _bounded(text: str, characters: int) -> str:
    """A text that is no longer than this: where it would be, its first paragraph alone."""
    if len(text) <= characters:
        return text
    more = "\n\nThe rest is too long for here; it is in the job's summary."
    return text.partition("\n\n")[0][: characters - len(more)] + more


def command(name: str, message: str, **properties: str) -> str:
    """A line that the runner takes as a command of a workflow; nothing in the message can end it."""
    told = (f"{key}={_escaped(value).replace(':', '%3A').replace(',', '%2C')}" for key, value in properties.items())
    return f"::{name} {','.join(told)}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def main(arguments: list[str] | None = None, pause: Callable[[float], None] = time.sleep) -> int:
    """Tell GitHub of a preview; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m include.preview.github", description=__doc__)
    parser.add_argument("report", type=Path, help="what `make preview` wrote; it may be missing")
    path = parser.parse_args(arguments).report
    try:
        job = Job.of(os.environ)
        said = said_of(from_json(path.read_text()), settings.dbt_source_dir()) if path.exists() else UNMADE
        _tell_runner(said)
        if job.is_from_fork:
            _tell_runner_alone(said)
        else:
            github = GitHub(job, pause)
            github.check(said, github.comment(said.text))
    except GitHubError as error:
        print(command("error", str(error), title=CHECK))
        return 2
    if said.verdict is None:
        return 2
    return 1 if said.verdict is Verdict.RED else 0


def _tell_runner(said: Said) -> None:
    """The report in the job's summary, and the verdict as an output of the step."""
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a") as file:
            file.write(f"{said.text}\n")
    if outputs := os.environ.get("GITHUB_OUTPUT"):
        with Path(outputs).open("a") as file:
            file.write(f"verdict={said.verdict or 'none'}\n")
    if said.verdict is Verdict.YELLOW:
        print(command("warning", said.title, title=CHECK))


def _tell_runner_alone(said: Said) -> None:
    """What is told without writing to GitHub: a job may say what is in its log, and annotate files by that."""
    print(command("notice", "A fork's token may not write: the report is in the job's summary alone.", title=CHECK))
    for one in said.annotations:
        print(command("error" if one.level == "failure" else one.level, one.message, file=one.path, line="1"))


if __name__ == "__main__":
    sys.exit(main())
