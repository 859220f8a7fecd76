"""dbt's adapter, likewise: what a macro dispatches becomes a function of the same name."""

from __future__ import annotations

from collections.abc import Callable


def dispatch(name: str, _package: str | None = None) -> Callable[..., str]:
    """The implementation that the engine at hand would have."""
    return lambda *arguments: f"{name}({', '.join(str(argument) for argument in arguments)})"
