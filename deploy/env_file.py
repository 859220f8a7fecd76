"""`make secrets`: writes fresh passwords and keys for docker-compose.yaml into `.env`, and changes none that is there.

`make revision` names in there the commit that is checked out: compose builds, and finds again, the image of that name.

Needs nothing but Python, since the machine of a deployment may have nothing else.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from argparse import ArgumentParser
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

HEADER = "# Secrets of docker-compose.yaml, made by `make secrets`. Settings of .env.example can be added."
REVISION = "GREENERY_REVISION"


def _token() -> str:
    return secrets.token_urlsafe(32)


def _fernet_key() -> str:
    return urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _long_token() -> str:
    return secrets.token_urlsafe(64)


# Letters, digits, -, _ and =: they stand in URLs as they are.
SECRETS: dict[str, Callable[[], str]] = {
    "AIRFLOW_ADMIN_PASSWORD": _token,
    "AIRFLOW_DB_PASSWORD": _token,
    "AIRFLOW__API_AUTH__JWT_SECRET": _long_token,
    "AIRFLOW__API__SECRET_KEY": _token,
    "AIRFLOW__CORE__FERNET_KEY": _fernet_key,
    "GREENERY_HEALTH_TOKEN": _token,
    "POSTGRES_PASSWORD": _token,
    "REDIS_PASSWORD": _token,
    "WAREHOUSE_DEVELOPER_PASSWORD": _token,
    "WAREHOUSE_HEALTH_PASSWORD": _token,
    "WAREHOUSE_LOADER_PASSWORD": _token,
    "WAREHOUSE_READER_PASSWORD": _token,
    "WAREHOUSE_TRANSFORMER_PASSWORD": _token,
}


def write(path: Path) -> list[str]:
    """Add the secrets that the file lacks, and return their names; nobody but its owner can read it afterwards.

    A secret without a value counts as lacking. All else stays as it is, and the file is replaced as a whole.
    """
    lines = path.read_text().splitlines() if path.exists() else [HEADER]
    there = {name for line in lines if (name := _name_with_value(line))}
    made = [name for name in SECRETS if name not in there]
    kept = [line for line in lines if _name(line) not in made]
    _replace(path, [*kept, *(f"{name}={SECRETS[name]()}" for name in made)])
    return made


def name_revision(path: Path, revision: str) -> None:
    """Let the file name this revision in place of another; all else stays as it is."""
    if not re.fullmatch(r"\w[\w.-]{0,127}", revision):
        raise ValueError(f"{revision!r} can't name an image; it takes letters, digits, _, . and -")
    lines = path.read_text().splitlines() if path.exists() else [HEADER]
    _replace(path, [*(line for line in lines if _name(line) != REVISION), f"{REVISION}={revision}"])


def _replace(path: Path, lines: list[str]) -> None:
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("\n".join(lines) + "\n")
    draft.replace(path)


def _name(line: str) -> str:
    return line.split("=", 1)[0].strip()


def _name_with_value(line: str) -> str | None:
    found = re.match(r"\s*(?:export\s+)?(\w+)\s*=\s*(?!\s|#|\"\"|''|$)", line)
    return found[1] if found else None


def main() -> int:
    """The command; takes the path of the file, `.env` if none is given."""
    parser = ArgumentParser(description="Writes .env for docker compose.")
    parser.add_argument("path", nargs="?", type=Path, default=Path(".env"))
    parser.add_argument("--revision", help="name the image by this, and make no secrets")
    asked = parser.parse_args()
    if asked.revision is not None:
        name_revision(asked.path, asked.revision)
        print(f"{asked.path}: the image is greenery-airflow:{asked.revision}")
        return 0
    made = write(asked.path)
    print(
        f"{asked.path}: {', '.join(made)} made" if made else f"{asked.path} has all secrets already; none was changed"
    )
    print("The login of the Airflow UI is admin, its password AIRFLOW_ADMIN_PASSWORD in that file.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
