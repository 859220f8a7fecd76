"""A runner of GitHub Actions, played: the steps of one job in bash, with the files and variables that a runner gives.

Actions (`uses:`) are replaced by what they do, with a repository on this disk. Of expressions it knows what the
workflows here say, and refuses others.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.repository import git

REPOSITORY, NUMBER, RUN = "greenery/data", 7, 42


def read(workflow: Path) -> dict[str, Any]:
    """A workflow. YAML takes its `on` for a truth value."""
    found = yaml.safe_load(workflow.read_text())
    return {"on" if key is True else key: value for key, value in found.items()}


@dataclass
class Runner:
    """A machine for one job: `folder` is its disk, `origin` the repository, `path` what comes before PATH.

    `outcomes` is what became of each step, by its id, name or action; `log` what all of them printed.
    """

    folder: Path
    origin: Path
    api: str
    token: str
    path: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    source: str = REPOSITORY
    prepare: Callable[[Path], None] = lambda _: None
    outcomes: dict[str, str] = field(default_factory=dict)
    log: str = ""

    @property
    def workspace(self) -> Path:
        """Where the checkout is."""
        return self.folder / "work" / "data"

    @property
    def artifacts(self) -> Path:
        """What was uploaded, by name."""
        return self.folder / "artifacts"

    @property
    def summary(self) -> str:
        """The job's summary."""
        return "".join(file.read_text() for file in sorted(self.folder.glob("summary-*")))

    def play(self, workflow: Path) -> bool:
        """The one job of a workflow, for a pull request; whether it succeeded."""
        (job,) = read(workflow)["jobs"].values()
        self.workspace.mkdir(parents=True)
        merge = git(self.origin, "rev-parse", f"refs/pull/{NUMBER}/merge")
        event = self.folder / "event.json"
        head = {"sha": git(self.origin, "rev-parse", f"{merge}^2"), "repo": {"full_name": self.source}}
        event.write_text(json.dumps({"pull_request": {"number": NUMBER, "head": head}}))
        given = {
            **os.environ,
            **self.environment,
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.api,
            "GITHUB_BASE_REF": "main",
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_RUN_ID": str(RUN),
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_SHA": merge,
            "GITHUB_WORKSPACE": str(self.workspace),
            "PATH": os.pathsep.join(filter(None, [self.path, os.environ["PATH"]])),
            "RUNNER_TEMP": str(self.folder / "temp"),
        }
        (self.folder / "temp").mkdir()
        for number, step in enumerate(job["steps"]):
            name = step.get("id") or step.get("name") or step["uses"].partition("@")[0]
            if not self._holds(str(step.get("if", "success()"))):
                self.outcomes[name] = "skipped"
                continue
            done = self._uses(step, merge) if "uses" in step else self._run(step, given, number)
            self.outcomes[name] = "success" if done else "failure"
        return "failure" not in self.outcomes.values()

    def _run(self, step: dict[str, Any], given: dict[str, str], number: int) -> bool:
        script = self.folder / f"step-{number}.sh"
        script.write_text(step["run"])
        files = {name: self.folder / f"{name}-{number}" for name in ("env", "output", "summary")}
        for file in files.values():
            file.touch()
        env = {
            **given,
            **{name: self._filled(value) for name, value in step.get("env", {}).items()},
            "GITHUB_ENV": str(files["env"]),
            "GITHUB_OUTPUT": str(files["output"]),
            "GITHUB_STEP_SUMMARY": str(files["summary"]),
        }
        # As `shell: bash` says.
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        ended = subprocess.run(
            command, cwd=self.workspace, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.log += ended.stdout
        given |= dict(line.split("=", 1) for line in files["env"].read_text().splitlines())
        return ended.returncode == 0

    def _uses(self, step: dict[str, Any], merge: str) -> bool:
        wants = {name: self._filled(str(value)) for name, value in step.get("with", {}).items()}
        match step["uses"].partition("@")[0]:
            case "actions/checkout":
                git(self.workspace, "init", "--quiet")
                depth = f"--depth={wants.get('fetch-depth', 1)}"
                git(self.workspace, "fetch", "--quiet", depth, self.origin.as_uri(), merge)
                git(self.workspace, "checkout", "--quiet", "--detach", merge)
                self.prepare(self.workspace)
                return True
            case "actions/setup-python":
                asked = (self.workspace / wants["python-version-file"]).read_text()
                lowest, above = map(int, re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', asked).groups())
                return lowest <= sys.version_info[1] < above
            case "actions/upload-artifact":
                there = self.workspace / wants["path"]
                if not there.exists():
                    return wants["if-no-files-found"] != "error"
                shutil.copytree(there, self.artifacts / wants["name"])
                return True
        raise AssertionError(f"nobody played {step['uses']}")

    def _holds(self, condition: str) -> bool:
        """An `if`: terms that all have to hold. Without a word on how the job is, it has to be well so far."""
        terms = [one.strip() for one in condition.removeprefix("${{").removesuffix("}}").split("&&")]
        if not {"!cancelled()", "always()", "success()"} & set(terms):
            terms.append("success()")
        return all(map(self._term, terms))

    def _term(self, term: str) -> bool:
        if term in ("!cancelled()", "always()"):
            return True
        if term == "success()":
            return "failure" not in self.outcomes.values()
        left, compare, right = term.split()
        return (self._value(left) == right.strip("'")) is (compare == "==")

    def _filled(self, text: str) -> str:
        return re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda found: self._value(found[1]), str(text))

    def _value(self, name: str) -> str:
        match name.split("."):
            case ["github", "token"]:
                return self.token
            case ["vars", variable]:
                return self.variables.get(variable, "")
            case ["steps", step, "outcome"]:
                return self.outcomes.get(step, "")
        raise AssertionError(f"nobody played {name}")
