"""`make secrets`: fresh ones where there are none, and never a change of one that is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
