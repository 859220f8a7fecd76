"""What is kept of previews in the state folder: what was parsed for each sandbox, and the newest report of each state.

All of it can be made again. When a preview begins, it deletes what was last used or written longer ago than sandboxes
are kept (`KEPT_FOR`).
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from include import settings
from include.preview.report import Report, from_json, to_json
from include.warehouse.sandbox import KEPT_FOR, Sandbox

log = logging.getLogger(__name__)


def home(sandbox: Sandbox) -> Path:
    """The folder of what is parsed for a sandbox, marked as used now. Deletes what is older than sandboxes get."""
    folder = _folder() / sandbox.name
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    for one in folder.parent.iterdir():
        with suppress(OSError):  # another preview was faster, or it is not ours to delete
            if one.stat().st_mtime < time.time() - KEPT_FOR.total_seconds():
                shutil.rmtree(one) if one.is_dir() else one.unlink()
    return folder


def keep(report: Report, release: str) -> None:
    """Keep a report of the state that the daily run calls by the name of this release, for the data-health page."""
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


def _folder() -> Path:
    return settings.state_dir() / "previews"


def _file(release: str) -> Path:
    return _folder() / f"{release}.json"
