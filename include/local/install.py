"""Make `.venv` hold what requirements-dev.txt, constraints.txt and overrides.txt say. Any Python runs this, on its own.

Takes the fastest Python 3.11 or 3.12 on the PATH: one that was built without optimisation, as version managers do, runs
dbt and Airflow at about half the speed of a distribution's own. Does nothing where nothing changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from progress import Progress

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
FILES = ("requirements.txt", "requirements-dev.txt", "constraints.txt", "overrides.txt")
NAMES = ("python3.12", "python3.11", "python3", "python")
PROBE = """
import sys, time
assert (3, 11) <= sys.version_info[:2] <= (3, 12)
import ensurepip, venv
def spin():
    start, seen = time.perf_counter(), {}
    for i in range(100000):
        seen[i % 997] = seen.get(i % 997, 0) + len(str(i))
    return time.perf_counter() - start
print(min(spin() for _ in range(20)))
"""


def main() -> int:
    """Install; 0 when all is there. Commands that start together take turns."""
    with (ROOT / ".installing").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _install()


def _install() -> int:
    progress = Progress()
    wanted = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in FILES)).hexdigest()
    marker = VENV / ".installed"
    if marker.exists() and marker.read_text() == wanted and (VENV / "bin" / "python").exists():
        return 0
    if _in_use():
        progress.say("The pins have changed and a local stack is running from .venv: `make down` first.")
        return 1
    if VENV.is_symlink():
        progress.say(
            f".venv is a link to {VENV.resolve()}, whose pins are others; installing would empty that folder. "
            "Remove the link, then try again."
        )
        return 1
    python = _python()
    if python is None:
        progress.say(
            "Python 3.11 or 3.12 with its venv module is needed and none is on the PATH "
            "(Debian, Ubuntu: apt-get install python3-venv); PYTHON=/path/to/python make … names one."
        )
        return 1
    if shutil.disk_usage(ROOT).free < 2_000_000_000:
        progress.say(f"less than 2 GB are free on the disk of {ROOT}: make room, then try again")
        return 1
    installed = str(VENV / "bin" / "python")
    steps = (
        [python, "-m", "venv", "--clear", str(VENV)],
        [installed, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "/dev/stdin"],
        # Bytecode once, here: where PYTHONDONTWRITEBYTECODE is set, every process would compile all that it imports.
        [
            *(installed, "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode"),
            *("-r", "requirements-dev.txt", "-c", "constraints.txt", "--override", "overrides.txt"),
        ],
    )
    # uv finds the environment that it is to fill by this variable.
    env = {**os.environ, "VIRTUAL_ENV": str(VENV)}
    with progress.step(f"Installing into .venv with {python}"):
        for step in steps:
            done = subprocess.run(
                step, cwd=ROOT, env=env, input=uv_pin(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            if done.returncode:
                progress.say(
                    f"{done.stdout}\nInstalling failed at: {' '.join(step)}\n"
                    "Mend what it says above, then run the same command again."
                )
                return 1
    marker.write_text(wanted)
    progress.say("Installed")
    return 0


def uv_pin() -> str:
    """The version and hashes of uv in constraints.txt: pip takes no hash from a constraint."""
    constraints = (ROOT / "constraints.txt").read_text()
    return re.search(r"^uv==.*\n(?:    --hash=.*\n)+", constraints, re.MULTILINE)[0]


def _in_use() -> bool:
    """Whether a stack runs from the environment that is to be replaced."""
    return (ROOT / ".local" / "stack.json").exists() and any(
        str(VENV) in command.read_text(errors="replace") and "airflow" in command.read_text(errors="replace")
        for command in Path("/proc").glob("[0-9]*/cmdline")
        if os.access(command, os.R_OK)
    )


def _python() -> str | None:
    if os.environ.get("PYTHON"):
        candidates = [os.environ["PYTHON"]]
    else:
        folders = os.environ.get("PATH", "").split(os.pathsep)
        found = (shutil.which(name, path=folder) for folder in folders for name in NAMES)
        candidates = list(dict.fromkeys(path for path in found if path and not path.startswith(str(VENV))))
    timed = [(seconds, path) for path in candidates if (seconds := _probe(path)) is not None]
    return min(timed)[1] if timed else None


def _probe(python: str) -> float | None:
    """Seconds that a small loop takes in this Python; None where it is of another version or can't make a venv."""
    try:
        done = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, timeout=30)
        return float(done.stdout) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


if __name__ == "__main__":
    sys.exit(main())
