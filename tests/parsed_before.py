"""Loading this is a first parse by dbt, in a process that forks: with it dbt makes a schema of each of its classes.

That takes longer than to parse a small project; a fork finds them made.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from dbt.adapters.factory import reset_adapters
from dbt.cli.main import dbtRunner
from dbt_common.tests import enable_test_caching

# A node, a column, a test and a source of its own, since each is of other classes.
_FILES = {
    "dbt_project.yml": "name: first\nversion: 1.0.0\nprofile: first\n",
    "profiles.yml": (
        "first: {target: it, outputs: {it: {type: postgres, host: nowhere, port: 1, dbname: some, user: some,"
        " password: some, schema: some}}}\n"
    ),
    "models/one.sql": "select 1 as one",
    "models/one.yml": (
        "models: [{name: one, columns: [{name: one, data_tests: [unique]}]}]\n"
        "sources: [{name: raw, tables: [{name: two}]}]\n"
    ),
}

enable_test_caching()  # a fork finds what was read of the macros of dbt itself
with TemporaryDirectory(prefix="greenery-parse-") as folder:
    for name, text in _FILES.items():
        file = Path(folder) / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    quiet = ("--quiet", "--log-level-file", "none")
    parsed = dbtRunner().invoke(["parse", *quiet, "--project-dir", folder, "--profiles-dir", folder])
    assert parsed.success, parsed.exception
    reset_adapters()
