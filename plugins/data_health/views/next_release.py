"""The next release: what the next run builds otherwise than the last one did, and what a preview of it found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from include.dbt_project import helpers, release
from include.fast_cosmos.releases import ProjectError, Release
from include.preview import costs, kept, version
from include.preview.plan import compare
from include.preview.render.document import Document
from include.preview.render.parts import document
from include.preview.report import Kind, ModelChange, Plan, Report
from plugins.data_health import runs
from plugins.data_health.reading import Reading
from plugins.data_health.runs import Run


@dataclass(frozen=True)
class NextRelease:
    """The release that the next run uses, beside the one of the last run.

    `release` names it, None where no dbt project was ever parsed. `run` is the last run that began, None before the
    first. `problem` is why the project as it is now is not that release. `plan` is what the two differ in; None where
    there is nothing to compare: no run so far, or its release is not kept any more. `preview` is what `make preview`
    found of the same state of the project, None where nobody made one.
    """

    release: str | None
    run: Run | None
    problem: str | None
    plan: Plan | None
    preview: Report | None

    @property
    def is_same(self) -> bool:
        """Whether the last run used it already."""
        return self.run is not None and self.run.release == self.release

    @property
    def found(self) -> Document | None:
        """The preview as people read it."""
        return document(self.preview) if self.preview else None

    @property
    def models(self) -> tuple[ModelChange, ...]:
        """What is touched, snapshots as well; helpers come last."""
        found = (*self.plan.models, *self.plan.snapshots) if self.plan else ()
        return tuple(sorted(found, key=lambda one: helpers.is_helper(one.name)))

    @property
    def marks(self) -> dict[str, Kind]:
        """What the change does to each of these, by name."""
        return {one.name: one.kind for one in self.models}

    @property
    def rebuilt(self) -> tuple[ModelChange, ...]:
        """Those that the next run builds in full, where it would have taken what changed."""
        return tuple(one for one in self.models if one.is_rebuilt)

    @property
    def seconds(self) -> float:
        """What that costs, of those of which it is known."""
        return sum(one.cost.seconds or 0 for one in self.rebuilt)


def read(reading: Reading) -> NextRelease:
    """The two releases as of now."""
    new, run, problem = release.current(), runs.newest(reading), release.problem()
    return NextRelease(
        release=new.stamp if new else None,
        run=run,
        problem=problem.message if problem else None,
        plan=_plan(reading, run, new) if new and run else None,
        preview=kept.of(new.stamp) if new else None,
    )


def _plan(reading: Reading, run: Run, new: Release) -> Plan | None:
    if run.release == new.stamp:
        return Plan()
    try:
        old = release.of_run(reading.connection, run.release)
    except (ProjectError, OSError):  # nobody keeps it, or here is no room for it
        return None
    return costs.known(reading.connection, _compared(old, new))


@lru_cache(maxsize=4)
def _compared(old: Release, new: Release) -> Plan:
    """Two releases never change, so it is worked out once."""
    return compare(*(version.of_release(one.stamp, "", one) for one in (old, new)))
