"""Releases of the dbt project that were never parsed: for tests of who looks for one, and not of dbt."""

from __future__ import annotations

from include import settings
from include.dbt_project import release
from include.fast_cosmos import seal
from include.fast_cosmos.releases import Release


def make_release(stamp: str, manifest: str = "{}") -> Release:
    """A release in the state folder, with this manifest.json; made anew where it is there."""
    folder = settings.state_dir() / "dbt" / "releases" / stamp
    (folder / "target").mkdir(parents=True, exist_ok=True)
    (folder / "target" / "manifest.json").write_text(manifest)
    seal.seal(folder, stamp, release.releases().made_with)
    return release.named(stamp)
