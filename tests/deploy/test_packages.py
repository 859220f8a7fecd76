"""What is installed: each package pinned, with hashes, wanted by somebody, and under a licence that was allowed."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest

from deploy import licences
from include.settings import PROJECT_ROOT

REQUIREMENTS = ("requirements.txt", "requirements-deployment.txt", "requirements-dev.txt")
# What is wanted for something else than to be imported by our code, and for what.
NOT_IMPORTED = {
    "apache-airflow": "Airflow's core, its SDK and its standard operators, in versions that fit",
    "apache-airflow-providers-celery": "the executor that AIRFLOW__CORE__EXECUTOR names",
    "apache-airflow-providers-fab": "the auth manager that AIRFLOW__CORE__AUTH_MANAGER names",
    "apache-airflow-providers-postgres": "asyncpg, with which the API server reads Airflow's own database",
    "apache-airflow-providers-slack": "connections of the kinds slack and slackwebhook",
    "celery": "the worker, and its ping in docker-compose.yaml; [redis] is its broker",
    "dbt-postgres": "dbt's adapter, which the profile names",
    "ruff": "make check",
    "sqlfluff": "make check",
    "uv": "installs, and makes constraints.txt",
}


@dataclass(frozen=True)
class Pin:
    """A line of constraints.txt: how many hashes it has, and the packages or files that want it."""

    name: str
    version: str
    hashes: int
    wanted_by: frozenset[str]


@cache
def pins() -> tuple[Pin, ...]:
    text = (PROJECT_ROOT / "constraints.txt").read_text()
    return tuple(_pin(block) for block in re.split(r"^(?=\S)", text, flags=re.MULTILINE) if block.strip())


def _pin(block: str) -> Pin:
    name, version = re.match(r"([\w.-]+)==([\w.]+)", block).groups()
    reasons = block.partition("# via")[2].replace("#", "").splitlines()
    return Pin(name, version, block.count("--hash=sha256:"), frozenset(one.strip() for one in reasons if one.strip()))


def wanted(file: str) -> dict[str, str]:
    """The packages that a file of requirements names, and what it says of their versions."""
    lines = re.findall(r"^([a-z][\w.-]*)(?:\[.*\])?(.*)$", (PROJECT_ROOT / file).read_text(), re.MULTILINE)
    return {name: version.strip() for name, version in lines}


# Pins ------------------------------------------------------------------------------------------------------------


def test_every_pin_has_a_hash() -> None:
    assert [pin.name for pin in pins() if not pin.hashes] == []


def test_nothing_is_pinned_that_no_requirement_leads_to() -> None:
    """By what `make constraints` wrote beside each: in the end a file of requirements that still names the package."""
    still = {(pin.name, f"-r {file}") for pin in pins() for file in REQUIREMENTS if pin.name in wanted(file)}
    reached = {pin.name for pin in pins() if any((pin.name, by) in still for by in pin.wanted_by)}
    before: set[str] = set()
    while reached != before:
        before = set(reached)
        reached |= {pin.name for pin in pins() if pin.wanted_by & reached}
    assert sorted({pin.name for pin in pins()} - reached) == []


@pytest.mark.parametrize("file", REQUIREMENTS)
def test_every_requirement_is_pinned_as_it_says(file: str) -> None:
    pinned = {pin.name: pin.version for pin in pins()}
    assert {name for name in wanted(file) if name not in pinned} == set()
    exact = {name: version[2:] for name, version in wanted(file).items() if version.startswith("==")}
    assert {name: pinned[name] for name in exact} == exact
    if file != "requirements-dev.txt":
        assert exact.keys() == wanted(file).keys(), "uv takes hashes only for what is asked for in one version"


def imported() -> Iterator[str]:
    """The packages that our code imports, in whatever folder."""
    for folder in ("include", "plugins", "dags", "tests", "benchmarks", "deploy"):
        for path in (PROJECT_ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Import(names=names):
                        yield from (one.name.split(".")[0] for one in names)
                    case ast.ImportFrom(module=str(module), level=0):
                        yield module.split(".")[0]


def test_every_requirement_is_used() -> None:
    of = packages_distributions()
    used = {licences.normal(name) for module in set(imported()) for name in of.get(module, [module])}
    asked = {name for file in REQUIREMENTS for name in wanted(file)}
    assert asked - used - NOT_IMPORTED.keys() == set()
    assert NOT_IMPORTED.keys() - asked == set(), "no longer asked for"


# Hashes ----------------------------------------------------------------------------------------------------------


def wheel(folder: Path, name: str, *needs: str) -> str:
    """A wheel of nothing; returns its hash."""
    path = folder / f"{name}-1-py3-none-any.whl"
    with ZipFile(path, "w") as file:
        told = "".join(f"Requires-Dist: {need}\n" for need in needs)
        file.writestr(f"{name}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{told}")
        file.writestr(f"{name}-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{name}-1.dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def install_as_the_image(tmp_path: Path) -> Iterator:
    """The image's own command, for a package that needs another one, each a file here; takes constraints.txt."""
    hashes = {"above": wheel(tmp_path, "above", "below"), "below": wheel(tmp_path, "below")}
    command = re.search(r"^RUN (uv pip install .*?[^\\])$", (PROJECT_ROOT / "Dockerfile").read_text(), re.M | re.S)[1]
    folder = re.search(r"--requirement (\S+)/", command)[1]
    words = command.replace("\\\n", "").replace(folder, str(tmp_path)).split()
    (tmp_path / "requirements-deployment.txt").write_text("above==1\n")
    (tmp_path / "overrides.txt").write_text("")

    def run(constraints: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "constraints.txt").write_text(constraints.format(**hashes))
        here = ["--target", tmp_path / "installed", "--no-index", "--find-links", tmp_path]
        return subprocess.run(
            [sys.executable, "-m", *words, *here],
            env={**os.environ, "UV_CACHE_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
        )

    return run


HASHED = "above==1 --hash=sha256:{above}\nbelow==1 --hash=sha256:{below}\n"


def test_the_image_takes_what_has_its_hash(install_as_the_image, tmp_path: Path) -> None:
    done = install_as_the_image(HASHED)
    assert done.returncode == 0, done.stderr
    assert {"above-1.dist-info", "below-1.dist-info"} <= {path.name for path in (tmp_path / "installed").iterdir()}


@pytest.mark.parametrize(
    ("constraints", "says"),
    [
        (HASHED.replace("{below}", "0" * 64), "Hash mismatch"),
        ("above==1 --hash=sha256:{above}\nbelow==1\n", "hash"),
        ("above==1 --hash=sha256:{above}\n", "below"),
    ],
    ids=["another hash", "no hash", "no pin"],
)
def test_the_image_refuses_what_was_exchanged_and_what_has_no_hash(
    install_as_the_image, tmp_path: Path, constraints: str, says: str
) -> None:
    done = install_as_the_image(constraints)
    assert done.returncode != 0
    assert says in done.stderr
    assert not (tmp_path / "installed" / "below-1.dist-info").exists()


def test_a_laptop_gets_uv_itself_by_its_hash() -> None:
    code = "import install; print(install.uv_pin())"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_ROOT / "include" / "local", capture_output=True, text=True, check=True
    )
    first, *hashes = told.stdout.splitlines()
    [uv] = [pin for pin in pins() if pin.name == "uv"]
    assert first.removesuffix(" \\") == f"uv=={uv.version}"
    assert len([one for one in hashes if one]) == uv.hashes > 0


# Licences --------------------------------------------------------------------------------------------------------


def test_what_is_installed_is_under_a_licence_that_was_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert licences.main() == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 AND MIT", True),
        ("GPL-2.0-or-later OR MIT", True),
        ("AGPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("", False),
        ("Proprietary", False),
    ],
)
def test_a_licence_that_nobody_allowed_is_refused(expression: str, allowed: bool) -> None:
    assert licences.is_allowed(expression) is allowed
