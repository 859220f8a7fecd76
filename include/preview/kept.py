"""The newest preview of each state of the project, kept in the state folder for the data-health page."""

from __future__ import annotations

import logging
from pathlib import Path

from include import settings
from include.preview.report import Report, from_json, to_json

log = logging.getLogger(__name__)


def keep(report: Report, release: str) -> None:
    """Keep a report of the state that the daily run calls by the name of this release."""
    file = _file(release)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(to_json(report))


def of(release: str) -> Report | None:
    """What was found of the state that this names; None where nobody looked, or with another version of ours."""
    file = _file(release)
    try:
        return from_json(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("The preview in %s can't be read, so nothing is told of it: %s", file, error)
        return None


def _file(release: str) -> Path:
    return settings.state_dir() / "previews" / f"{release}.json"
