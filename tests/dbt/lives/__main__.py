"""`python -m tests.dbt.lives`: a table of the lives that were lived at this commit; with `--all`, at any."""

from __future__ import annotations

import argparse

from tests.dbt.lives import lived

parser = argparse.ArgumentParser(prog="python -m tests.dbt.lives", description=(__doc__ or "").partition(": ")[2])
parser.add_argument("--all", action="store_true", help="of every commit")
print(lived.table(lived.noted(None if parser.parse_args().all else lived.commit())))
