"""What the commands that import Airflow have in common."""

from __future__ import annotations

import sys

from airflow.sdk.log import configure_logging


def log_to_stderr() -> None:
    """Once imported, Airflow writes what is logged to stdout; a command's stdout is for what was asked for."""
    configure_logging(output=sys.stderr)
