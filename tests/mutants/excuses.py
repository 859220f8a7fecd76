"""Mutants that survive and are right: `equivalent.yml` excuses them, for as long as the text is as it was judged.

An excuse is a reason, and a line for each mutant: what `make mutants` says of it, with a hash of the text around. That
is the model or macro as a whole, and in Python the outermost statement, such as a function.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import yaml

from tests.mutants.change import Mutant

FILE = Path(__file__).with_name("equivalent.yml")

# The text of each node, by its name, in the parts that are judged: joined they are all of it.
Texts = Mapping[str, Sequence[str]]


def line(mutant: Mutant, parts: Sequence[str]) -> str:
    """What is said of a mutant, and excuses it; `parts` are those of its node's text."""
    ends = accumulate(map(len, parts))
    judged = next(part for part, end in zip(parts, ends, strict=True) if mutant.start < end)
    return f"{mutant.node} {_hash(judged)}: {mutant.shown(''.join(parts))}"


def lines() -> list[str]:
    """The mutants that are excused."""
    return [one for excuse in yaml.safe_load(FILE.read_text()) for one in excuse["mutants"]]


def refused(excused: Collection[str], texts: Texts) -> str:
    """A sentence on the excuses whose text has changed, with their lines; "" where all of them still hold."""
    known = {f"{node} {_hash(part)}" for node, parts in texts.items() for part in parts}
    outlived = [one for one in excused if one.split()[0] in texts and one.partition(": ")[0] not in known]
    if not outlived:
        return ""
    return "\n".join(
        [
            f"The text around these mutants has changed since they were excused in {FILE.name}. Read it again: where "
            "the reason still holds, replace the line by the one that `make mutants ARGS='--list NAME'` tells now "
            "(with `python` before the name of a module), else delete it.",
            *outlived,
        ]
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:8]
