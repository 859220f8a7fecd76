"""Helpers: models that are there for other models, `int_…` and `stg_…`. Lists that people read only count them.

What failed is named, a helper as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from include import words

# Of a model's name, or of its unique id.
_HELPER = re.compile(r"(model\.\w+\.)?(int|stg)_")


def is_helper(name: str) -> bool:
    """Whether a model is one, by its name or its unique id."""
    return _HELPER.match(name) is not None


def apart(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of others, and those of helpers."""
    return tuple(one for one in names if not is_helper(one)), tuple(one for one in names if is_helper(one))


def counted(names: Sequence[str], which: str = "") -> str:
    """How many there are of each: "12 models and 9 helpers". `which` is said of the first: "12 other models …"."""
    others, found = apart(names)
    if not others:
        return words.count(len(found), f"{which}helper")
    told = words.count(len(others), f"{which}model")
    return f"{told} and {words.count(len(found), 'helper')}" if found else told
