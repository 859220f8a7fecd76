"""`make digests`, with a docker that only knows digests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT

# Answers as `docker buildx imagetools inspect --format` does: a digest and an end of line.
DOCKER = """#!/bin/sh
[ "$1 $2 $3 $4" = "buildx imagetools inspect --format" ] || exit 9
case "$6" in
  {knows}) echo "sha256:$(printf %s "$6" | sha256sum | cut -d' ' -f1)";;
  *) echo "no such host" >&2; exit 1;;
esac
"""
TAGS = ["apache/airflow:3.3.2-python3.12", "postgres:18", "redis:7"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("Dockerfile", "docker-compose.yaml"):
        shutil.copy(PROJECT_ROOT / name, tmp_path)
    return tmp_path


def digests(project: Path, knows: str = "*") -> subprocess.CompletedProcess[str]:
    docker = project / "bin" / "docker"
    docker.parent.mkdir(exist_ok=True)
    docker.write_text(DOCKER.format(knows=knows))
    docker.chmod(0o755)
    environment = {**os.environ, "PATH": f"{docker.parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, PROJECT_ROOT / "deploy" / "digests.py"]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


def read(project: Path) -> str:
    return (project / "Dockerfile").read_text() + (project / "docker-compose.yaml").read_text()


def test_each_image_that_is_not_ours_gets_its_digest(project: Path) -> None:
    before = read(project)
    done = digests(project)
    assert done.returncode == 0, done.stderr
    pinned = done.stdout.split()
    assert [one.partition("@")[0] for one in pinned] == TAGS
    assert all(one in read(project) for one in pinned)
    assert re.sub(r"@sha256:\w{64}", "", read(project)) == re.sub(r"@sha256:\w{64}", "", before)


def test_a_second_call_replaces_the_digests_of_the_first(project: Path) -> None:
    digests(project)
    once = read(project)
    digests(project)
    assert read(project) == once
    assert once.count("@sha256:") == len(TAGS)


def test_nothing_is_changed_where_one_digest_is_not_to_be_had(project: Path) -> None:
    before = read(project)
    done = digests(project, knows="apache*|postgres*")
    assert (done.returncode, done.stdout) == (1, "")
    assert "docker did not tell the digest of redis:7: no such host" in done.stderr
    assert "No file was changed" in done.stderr
    assert read(project) == before
