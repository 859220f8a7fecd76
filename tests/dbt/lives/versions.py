"""The versions of the project that lives deploy: each is parsed once, and has the release by which runs of it go."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, field, replace

from dbt.artifacts.resources import FileHash

from include.dbt_project import manifest
from include.dbt_project.manifest import Manifest
from tests.dbt.days import A_FEW, EVERYTHING, Project
from tests.dbt.lives.life import VERSIONS, Life
from tests.releases import make_release


@dataclass(frozen=True)
class Version:
    """A version of the project: parsed, with the facts that its release has, and its name."""

    project: Project
    facts: Manifest
    stamp: str


@dataclass
class Versions:
    """Those that were deployed so far in this process."""

    project: Project
    made: dict[tuple[bool, bool, int], Version] = field(default_factory=dict)

    def of(self, life: Life, number: int) -> Version:
        """A version as a life has it, and its release."""
        key = (life.few, life.tested, number)
        if key not in self.made:
            self.made[key] = self._make(*key)
        return self.made[key]

    def _make(self, few: bool, tested: bool, number: int) -> Version:
        parsed = self.project
        content = json.loads((parsed.work / "target" / "manifest.json").read_bytes())
        if change := VERSIONS[number]:
            name, this, to = change
            unique_id = f"model.greenery.{name}"
            node = deepcopy(parsed.manifest.nodes[unique_id])
            assert this in node.raw_code
            node.raw_code = node.raw_code.replace(this, to)
            node.checksum = FileHash.from_contents(node.raw_code)
            changed = replace(parsed.manifest, nodes={**parsed.manifest.nodes, unique_id: node})
            changed.build_flat_graph()  # our macros keep in it what they found of each node
            parsed = Project(parsed.project, parsed.work, changed)
            content["nodes"][unique_id] |= {"checksum": node.checksum.to_dict(), "raw_code": node.raw_code}
        # A view that is there stays what it is. Its tests would be left out with it.
        views = () if tested else ("--exclude", "config.materialized:view")
        names = parsed.untested.names("--select", *(A_FEW if few else EVERYTHING), *views)
        kept = {key: node for key, node in content["nodes"].items() if node["name"] in names}
        known = kept.keys() | content["sources"].keys()
        if tested:
            kept |= {
                key: node
                for key, node in content["nodes"].items()
                if node["resource_type"] == "test" and set(node["depends_on"]["nodes"]) <= known
            }
        kinds = ("sources", "groups", "metrics", "semantic_models")
        content = {"nodes": kept, **{kind: content[kind] for kind in kinds}}
        stamp = f"{'few' if few else 'everything'}-{'tested' if tested else 'untested'}-{number}"
        made = make_release(stamp, json.dumps(content))
        return Version(parsed, manifest.read(made.manifest), stamp)
