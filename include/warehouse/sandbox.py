"""Sandboxes: schemas of one's own beside production's, where a preview or a developer builds.

`<name>` takes the place of `analytics`, `<name>_staging` that of `staging`, `<name>_snapshots` and `<name>_ops` those
of the other two. Their owner is `greenery_developer`, who can write nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sandbox:
    """A sandbox by its name, such as `preview_ana` or `branch_ana`."""

    name: str

    @property
    def marts(self) -> str:
        """dbt's target schema."""
        return self.name

    @property
    def staging(self) -> str:
        """The schema of staging views and of what incremental models changed."""
        return f"{self.name}_staging"

    @property
    def snapshots(self) -> str:
        """The schema of snapshots that are taken in the sandbox."""
        return f"{self.name}_snapshots"

    @property
    def ops(self) -> str:
        """The schema of what dbt's macros remember of the sandbox."""
        return f"{self.name}_ops"

    @property
    def schemas(self) -> tuple[str, ...]:
        """All of them."""
        return (self.marts, self.staging, self.snapshots, self.ops)
