"""The same for the Python that publishes: cosmic-ray changes the gate, the exchange and the buffers, in a copy.

cosmic-ray is no dependency: uv fetches it when it is asked for. It goes on where it was stopped, as long as no file was
changed. SQL in the quotes of Python is not changed.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from random import Random

from include.settings import PROJECT_ROOT
from tests.mutants.copied import copy_project
from tests.resume import files

COSMIC_RAY = (sys.executable, "-m", "uv", "tool", "run", "--quiet", "--from", "cosmic-ray==8.7.0")
FOLDER = PROJECT_ROOT / ".local" / "mutants-python"
CONFIG = "tests/mutants/python.toml"


def judge(sample: int | None, seed: int) -> int:
    """Returns 1 where a mutant survived. Raises `CalledProcessError` where the tests fail without one."""
    session = _begin(sample, seed)
    _run("cosmic-ray", "exec", CONFIG, str(session))
    with closing(sqlite3.connect(session)) as database:
        outcomes = dict(
            database.execute(
                "select lower(test_outcome), count(*) from work_results where test_outcome is not null group by 1"
            )
        )
        diffs = [diff for (diff,) in database.execute("select diff from work_results where test_outcome = 'SURVIVED'")]
    print(f"{outcomes.get('killed', 0)} of {sum(outcomes.values())} were noticed.")
    print("\n\n".join(diffs))
    return 1 if diffs else 0


def _begin(sample: int | None, seed: int) -> Path:
    """A copy of the project with its mutants listed; the former one for the same question and files."""
    now, noted, session = f"{files(PROJECT_ROOT)} {sample} {seed}", FOLDER / "of", FOLDER / "session.sqlite"
    if not noted.exists() or noted.read_text() != now:
        shutil.rmtree(FOLDER, ignore_errors=True)
        copy_project(FOLDER / "copy")
        _run("cosmic-ray", "baseline", CONFIG)
        _run("cosmic-ray", "init", CONFIG, str(session))
        _run("cr-filter-operators", str(session), CONFIG)
        if sample:
            _draw(session, sample, seed)
        noted.write_text(now)
    return session


def _draw(session: Path, sample: int, seed: int) -> None:
    """Leave out all mutants but some."""
    with closing(sqlite3.connect(session)) as database:
        left = [
            one
            for (one,) in database.execute(
                "select job_id from mutation_specs where job_id not in (select job_id from work_results)"
                " order by module_path, operator_name, occurrence, start_pos_row"
            )
        ]
        kept = Random(seed).sample(left, min(sample, len(left)))  # noqa: S311 - no secret
        for one in {*left} - {*kept}:
            database.execute("delete from mutation_specs where job_id = ?", (one,))
            database.execute("delete from work_items where job_id = ?", (one,))
        database.commit()


def _run(*command: str) -> None:
    subprocess.run([*COSMIC_RAY, *command], cwd=FOLDER / "copy", check=True)
