"""Lists what is installed under a licence that nobody has allowed: `python deploy/licences.py`, in any environment.

Needs nothing but Python, so that it can be asked in the image as well. Exit code 1 where there is something to list.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, distributions

# They ask for a notice, or, like the LGPL and the MPL, for the source of what is changed in the package itself.
ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Artistic-1.0-Perl",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CNRI-Python",
    "ISC",
    "LGPL-3.0-only",
    "LGPL-3.0-or-later",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "PSF-2.0",
    "Unlicense",
    "ZPL-2.1",
}
# What packages call them that don't use the names of SPDX.
SAME = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "Artistic License": "Artistic-1.0-Perl",
    "BSD License": "BSD-3-Clause",
    "BSD-derived": "BSD-3-Clause",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
# Looked up by hand: the package's metadata does not say, or says too little.
LOOKED_UP = {
    "axe-playwright-python": "MIT",
    "openlineage-sql": "Apache-2.0",
    "promql-parser": "MIT",
}


def licence_of(package: Distribution) -> str:
    """An expression of SPDX, as well as the package's metadata tells it; empty where they say nothing."""
    told = package.metadata
    if looked_up := LOOKED_UP.get(normal(told["Name"])):
        return looked_up
    if expression := told.get("License-Expression"):
        return expression
    classes = [one.split(" :: ")[-1] for one in told.get_all("Classifier", []) if one.startswith("License :: ")]
    names = [SAME.get(one, one) for one in classes if one != "OSI Approved"]
    # Who lists several leaves the choice.
    return " OR ".join(names) or SAME.get(text := (told.get("License") or "").strip(), text)


def is_allowed(expression: str) -> bool:
    """Whether one of the choices asks for nothing but what is allowed."""
    choices = re.split(r"\s+OR\s+", expression.replace("(", " ").replace(")", " ").strip())
    return any(all(one.strip() in ALLOWED for one in re.split(r"\s+AND\s+", choice)) for choice in choices)


def normal(name: str) -> str:
    """A package's name as indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    """The command."""
    found = {normal(package.metadata["Name"]): licence_of(package) for package in distributions()}
    refused = {name: licence for name, licence in sorted(found.items()) if not is_allowed(licence)}
    for name, licence in refused.items():
        print(f"{name}: {licence or 'says nothing of its licence'}")
    if refused:
        print(
            "Nobody has allowed these licences. Take another package, or say in deploy/licences.py why it may stay.",
            file=sys.stderr,
        )
        return 1
    print(f"{len(found)} packages, all under licences that deploy/licences.py allows", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
