"""`make secrets`: fresh ones where there are none, and never a change of one that is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from deploy import env_file
from include.settings import PROJECT_ROOT


def read(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_every_secret_is_fresh_and_its_owner_alone_can_read_it(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert env_file.write(first) == list(env_file.SECRETS)
    env_file.write(second)
    values = [*read(first).values(), *read(second).values()]
    assert len(set(values)) == 2 * len(env_file.SECRETS)
    assert min(map(len, values)) >= 43, "a secret of less than 256 bits"
    assert mode(first) == 0o600
    Fernet(read(first)["AIRFLOW__CORE__FERNET_KEY"])


def test_what_is_there_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# mine\nPOSTGRES_PASSWORD=kept\nREDIS_PASSWORD=\nGREENERY_SCHEDULE=0 7 * * *\n")
    path.chmod(0o644)
    made = env_file.write(path)
    assert "POSTGRES_PASSWORD" not in made
    assert "REDIS_PASSWORD" in made, "one without a value is none"
    assert path.read_text().startswith("# mine\nPOSTGRES_PASSWORD=kept\nGREENERY_SCHEDULE=0 7 * * *\n")
    assert len(read(path)["REDIS_PASSWORD"]) >= 43
    assert mode(path) == 0o600


def test_a_second_call_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    command = [sys.executable, PROJECT_ROOT / "deploy" / "env_file.py", path]
    subprocess.run(command, check=True, capture_output=True)
    before = path.read_text()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert path.read_text() == before
    assert "none was changed" in done.stdout
    assert not any(secret in done.stdout for secret in read(path).values())


def test_a_revision_takes_the_place_of_the_former_one_and_all_else_stays(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    env_file.write(path)
    before = read(path)
    for revision in ("0a1b2c3", "v1.4-2-g0a1b2c3-dirty"):
        env_file.name_revision(path, revision)
        assert read(path) == before | {"GREENERY_REVISION": revision}
    assert mode(path) == 0o600
    for revision in ("", "a b", "a\nPOSTGRES_PASSWORD=x", "-a", "latest:x"):
        with pytest.raises(ValueError, match="can't name an image"):
            env_file.name_revision(path, revision)
    assert read(path)["GREENERY_REVISION"] == "v1.4-2-g0a1b2c3-dirty"


def test_the_command_names_the_commit_that_is_checked_out(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    author = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", *author, "commit", "--quiet", "--allow-empty", "-m", "one"], cwd=tmp_path, check=True)
    for name in ("Makefile", "deploy"):
        (tmp_path / name).symlink_to(PROJECT_ROOT / name)
    done = subprocess.run(["make", "--silent", "revision"], cwd=tmp_path, check=True, capture_output=True, text=True)
    asked = ["git", "describe", "--always", "--dirty"]
    revision = subprocess.run(asked, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    assert read(tmp_path / ".env") == {"GREENERY_REVISION": revision}
    assert f"greenery-airflow:{revision}" in done.stdout
