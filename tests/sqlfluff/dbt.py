"""dbt's own macros for sqlfluff's templater: `dbt.datediff(…)` becomes SQL of the same shape, for no engine."""

from __future__ import annotations

from collections.abc import Callable


def type_string() -> str:
    """A type's name, which is no function."""
    return "text"


def type_timestamp() -> str:
    """As above."""
    return "timestamp"


def concat(fields: list[str]) -> str:
    """Fields, one after the other."""
    return " || ".join(fields)


def generate_series(upper_bound: int) -> str:
    """A whole query."""
    return f"select {upper_bound} as generated_number"


def __getattr__(name: str) -> Callable[..., str]:
    if name in ("except", "intersect"):
        return lambda: name
    return lambda *arguments: f"{name}({', '.join(str(argument) for argument in arguments)})"
