"""A state of the dbt project, parsed: that of a commit, or the folder as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from include.dbt_project.manifest import Manifest
from include.fast_cosmos.releases import Release


@dataclass(frozen=True)
class Version:
    """A state of the project, parsed for a sandbox. `label` is what people call it, `commit` a short hash.

    `facts` is the part of dbt's manifest that the daily run asks about, `whole` all of manifest.json.
    """

    label: str
    commit: str
    release: Release
    facts: Manifest
    whole: Mapping[str, Any]
