"""The workflow of a pull request's preview: what it may, and its steps, as a runner runs them.

`make` is played: it notes how it is called, and leaves a report. In the last tests it is as it is, on a small project.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.demo_shop.demo import play_day
from include.masked.save import save
from include.preview.report import Became, Kind, Plan, Report, Versus, from_json, to_json
from include.preview.report import TestChange as OfTest
from include.settings import PROJECT_ROOT, Warehouse
from include.warehouse import connect
from tests.actions_runner import NUMBER, Runner, read
from tests.github_server import BOT, TOKEN, GitHub, github_server
from tests.include.preview import shop
from tests.repository import begin, commit, git

pytestmark = pytest.mark.slow

WORKFLOW = PROJECT_ROOT / ".github" / "workflows" / "preview.yml"
GREEN = Report(Versus("main", "1a2b3c4"), datetime(2026, 11, 30, tzinfo=UTC), Plan())
RED = replace(GREEN, tests=(OfTest("test.x", "x", "fact_orders", Became.FAILS),))
# Notes what it is asked for; `preview` leaves what lies in PLAYED where it is told to, and ends as PLAYED_EXIT says.
MAKE = """#!/bin/bash
echo "make $*" >> "$PLAYED/asked"
case "$1" in
  "$PLAYED_BREAKS") exit 2;;
  install) ln -sfn "$PROJECT/.venv" .venv;;
  preview)
    out=$(sed "s/.*--out '\\(.*\\)'/\\1/" <<< "$*")
    mkdir -p "$out"
    cp -r "$PLAYED/report/." "$out"
    exit "$PLAYED_EXIT";;
esac
exit 0
"""
GH = """#!/bin/bash
[ -n "$GH_TOKEN" ] || { echo "gh: To use GitHub CLI in a GitHub Actions workflow, set the GH_TOKEN" >&2; exit 4; }
echo "gh $*" >> "$PLAYED/asked"
case "$1 $2" in
  "run list") echo 41;;
  "run download") cp -r "$PLAYED/copy" "${@: -1}";;
esac
"""
# Make as it is, but that the base's run (`--directory BASE masked FROM=COPY ARGS=--run`) needs no Airflow.
WITHOUT_AIRFLOW = f"""#!/bin/bash
set -e
make={shutil.which("make")}
[ "${{@: -1}}" = ARGS=--run ] || exec $make "$@"
$make "${{@:1:$#-1}}"
cd "$2"
.venv/bin/python - <<END
import os
from include import settings
from include.local import warehouse
from include.local.stack import Stack
from tests.include.preview import shop

stack = Stack(settings.state_dir())
os.environ.update(warehouse.as_transformer(stack.postgres()).environment())
shop.publish("run 1")
stack.stop()
END
"""
NEW_MART = "select promo_id from {{ ref('promotions') }}"


def pull_request(origin: Path) -> None:
    """A repository with this checkout as its main, and a pull request on it that GitHub has merged for its job.

    The dbt project is a small one, and the pull request adds a mart to it.
    """
    origin.mkdir()
    listed = git(PROJECT_ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    there = "\0".join(name for name in listed if name and (PROJECT_ROOT / name).is_file())
    copied = subprocess.run(
        ["tar", "--create", "--null", "--files-from=-"], cwd=PROJECT_ROOT, input=there.encode(), stdout=subprocess.PIPE
    ).stdout
    subprocess.run(["tar", "--extract"], cwd=origin, input=copied, check=True)
    shutil.rmtree(origin / "dbt")
    shop.write(origin / "dbt", shop.FILES)
    begin(origin)
    git(origin, "checkout", "--quiet", "-b", "change")
    (origin / "dbt/models/marts/promoted.sql").write_text(NEW_MART)
    commit(origin, "change")
    git(origin, "checkout", "--quiet", "--detach", "main")
    git(origin, "merge", "--quiet", "--no-ff", "--message", "merge", "change")
    git(origin, "update-ref", f"refs/pull/{NUMBER}/merge", "HEAD")
    git(origin, "checkout", "--quiet", "main")
    git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")


@dataclass
class Job:
    """The workflow's job, and what `make` and `gh` were asked for in it."""

    runner: Runner
    github: GitHub
    played: Path

    def play(self, report: Report | None, *, breaks: str = "") -> bool:
        """The job, with a preview that finds this; None: none can be made. `breaks` is a target of make that fails."""
        self.prepare(report, breaks)
        return self.runner.play(WORKFLOW)

    def prepare(self, report: Report | None, breaks: str = "") -> None:
        """Let `make` play so."""
        folder = self.played / "report"
        folder.mkdir()
        (self.played / "copy").mkdir()
        if report:
            (folder / "report.json").write_text(to_json(report))
        self.runner.environment = {
            "PROJECT": str(PROJECT_ROOT),
            "PLAYED": str(self.played),
            "PLAYED_BREAKS": breaks,
            "PLAYED_EXIT": "0" if report is GREEN else "2",
        }

    @property
    def asked(self) -> list[str]:
        """What was called, without the folders, which differ."""
        return re.sub(r"/\S+/", "", (self.played / "asked").read_text()).splitlines()


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    there = tmp_path_factory.mktemp("github") / "data"
    pull_request(there)
    return there


@pytest.fixture
def job(tmp_path: Path, origin: Path) -> Iterator[Job]:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, script in {"make": MAKE, "gh": GH}.items():
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    with github_server() as github:
        yield Job(Runner(tmp_path, origin, github.url, TOKEN, str(programs)), github, programs)


def test_a_green_preview_is_told_and_kept(job: Job) -> None:
    assert job.play(GREEN), job.runner.log
    assert job.asked == [
        "make install",
        "make install",
        "make --directory base demo",
        "make preview BASE=base ARGS=--out 'preview'",
        "make --silent down",
    ]
    assert git(job.runner.workspace, "rev-parse", "base") == git(job.runner.origin, "rev-parse", "main")
    assert "## 🟢 Nothing that people see changes" in job.github.of(BOT)[0]
    assert "## 🟢 Nothing that people see changes" in job.runner.summary
    assert [one["conclusion"] for one in job.github.checks] == ["success"]
    assert (job.runner.artifacts / "preview" / "report.json").exists()


def test_a_red_preview_is_told_and_the_job_is_red(job: Job) -> None:
    assert not job.play(RED)
    assert job.runner.outcomes["actions/upload-artifact"] == "success"
    assert [one["conclusion"] for one in job.github.checks] == ["failure"]
    assert "## 🔴 Merging this breaks" in job.github.of(BOT)[0]


def test_where_the_bases_shop_is_not_published_that_is_told(job: Job) -> None:
    assert not job.play(None, breaks="--directory")
    assert "No preview could be made" in job.github.of(BOT)[0]
    assert not any("preview" in one for one in job.asked)
    assert job.asked[-1] == "make --silent down"


def test_where_nothing_is_installed_nothing_more_is_tried(job: Job) -> None:
    assert not job.play(None, breaks="install")
    assert job.runner.outcomes["Tell it"] == job.runner.outcomes["Make the preview"] == "skipped"


def test_a_forks_job_writes_nothing(job: Job) -> None:
    job.runner.source = "stranger/data"
    job.github.permissions = frozenset()
    assert job.play(GREEN), job.runner.log
    assert job.github.asked == []
    assert "## 🟢 Nothing that people see changes" in job.runner.summary


def test_a_masked_copy_takes_the_place_of_the_demo_shop(job: Job) -> None:
    job.runner.variables = {"PREVIEW_COPY_FROM": "masked.yml"}
    assert job.play(GREEN), job.runner.log
    assert job.asked[1:3] == [
        "gh run list --workflow masked.yml --status success --limit 1 --json databaseId --jq .[0].databaseId",
        "gh run download 41 --name masked --dir masked",
    ]
    assert "make --directory base masked FROM=masked ARGS=--run" in job.asked
    assert not any("demo" in one for one in job.asked)


@pytest.mark.parametrize(("report", "code"), [(RED, 1), (None, 2)])
def test_another_ci_tells_a_red_preview_from_none_by_the_exit_code(
    job: Job, origin: Path, tmp_path: Path, report: Report | None, code: int
) -> None:
    job.prepare(report)
    subprocess.run(["git", "clone", "--quiet", origin, tmp_path / "checkout"], check=True)
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.json").write_text("of a preview before")
    known = {**os.environ, **job.runner.environment, "PATH": f"{job.played}:{os.environ['PATH']}"}
    done = subprocess.run([tmp_path / "checkout/deploy/preview.sh", "main", out], env=known, capture_output=True)
    assert done.returncode == code, done.stderr
    assert job.asked[-2:] == ["make preview BASE=main ARGS=--out 'out'", "make --silent down"]


def test_a_commit_that_is_not_there_is_said(tmp_path: Path) -> None:
    command = [PROJECT_ROOT / "deploy" / "preview.sh", "0" * 40, str(tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert f"{'0' * 40} is no commit of this checkout" in ended.stderr


def test_a_strangers_code_runs_with_no_secret_and_no_token_that_writes() -> None:
    workflow = read(WORKFLOW)
    assert workflow["on"] == "pull_request"
    assert "secrets." not in WORKFLOW.read_text()
    (job,) = workflow["jobs"].values()
    with_token = [step["name"] for step in job["steps"] if "github.token" in str(step)]
    assert with_token == ["Fetch the masked copy", "Tell it"]
    (checkout,) = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
    assert checkout["with"]["persist-credentials"] is False


def test_the_job_may_do_what_it_does_and_no_more() -> None:
    workflow = read(WORKFLOW)
    (job,) = workflow["jobs"].values()
    assert workflow["permissions"] == {}
    assert job["permissions"] == {"contents": "read", "pull-requests": "write", "checks": "write", "actions": "read"}
    assert job["timeout-minutes"] <= 30


def test_actions_are_pinned_by_a_commit_whose_version_stands_beside_it() -> None:
    uses = re.findall(r"uses: (.*)", WORKFLOW.read_text())
    assert [one for one in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)] == []


def test_no_expression_is_pasted_into_a_script() -> None:
    """What people write, as a branch's name, would be run."""
    (job,) = read(WORKFLOW)["jobs"].values()
    assert [step for step in job["steps"] if "${{" in step.get("run", "")] == []


@pytest.fixture
def disk() -> Iterator[Path]:
    """The runner's disk. Postgres' own user has to come to it, and pytest keeps others out of its own folders."""
    with tempfile.TemporaryDirectory(prefix="greenery-runner-") as folder:
        yield Path(folder)


def from_the_checkout(disk: Path, origin: Path, warehouse: Warehouse, **programs: str) -> str:
    """Our own make, in the environment that is installed already, on a masked copy of the demo shop's first day.

    `programs` come before those of the machine. Returns what all steps said.
    """
    folder = disk / "programs"
    folder.mkdir()
    for name, script in {"gh": GH, **programs}.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    with connect(where=warehouse) as connection:
        play_day(connection, 1)
    save(folder / "copy", warehouse)
    with github_server() as github:
        runner = Runner(disk, origin, github.url, TOKEN, str(folder), {"PREVIEW_COPY_FROM": "masked.yml"})
        runner.environment = {"PLAYED": str(folder)}
        runner.prepare = lambda checkout: (checkout / ".venv").symlink_to((PROJECT_ROOT / ".venv").resolve())
        assert runner.play(WORKFLOW), runner.log
        assert "make: ***" not in runner.log
        (comment,) = github.of(BOT)
        assert "## 🟢 Merging this adds model promoted; nothing else changes" in comment
        assert [one["conclusion"] for one in github.checks] == ["success"]
    made = from_json((runner.artifacts / "preview" / "report.json").read_text())
    assert [(one.name, one.kind) for one in made.plan.models] == [("promoted", Kind.NEW)]
    assert made.versus.published_at is not None, made.versus.why
    return runner.log


@pytest.mark.db
def test_from_the_checkout_to_the_comment(disk: Path, origin: Path, warehouse: Warehouse) -> None:
    """The base's code builds the copy and publishes, without a scheduler."""
    from_the_checkout(disk, origin, warehouse, make=WITHOUT_AIRFLOW)


@pytest.mark.db
@pytest.mark.stack
@pytest.mark.torture
def test_from_the_checkout_to_the_comment_on_an_airflow(disk: Path, origin: Path, warehouse: Warehouse) -> None:
    """Nothing is played but GitHub."""
    assert "Greenery data is up to date" in from_the_checkout(disk, origin, warehouse)
