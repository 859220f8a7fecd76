"""Two machines, one state folder each: a run that began on one goes on on the other, whatever is in its image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from include import settings
from include.daily import admission
from include.dbt_project import archive, release
from include.fast_cosmos import invocation, releases, seal
from include.fast_cosmos.releases import ProjectError, Release
from include.results import runs
from tests import in_memory
from tests.include.dbt_project.conftest import MODEL
from tests.releases import make_release

pytestmark = pytest.mark.db


def machine(home: Path, environment: pytest.MonkeyPatch) -> None:
    """Another machine from here on, with a state folder of its own."""
    environment.setenv("GREENERY_STATE_DIR", str(home))


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    """A release of another machine."""
    machine(tmp_path / "first", monkeypatch)
    first = make_release("first")
    machine(tmp_path / "second", monkeypatch)
    return first


def test_a_run_goes_on_with_its_release_where_the_image_has_another_one(
    db: Connection, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = admission.release_of("run")
    machine(project.parent / "second", monkeypatch)
    (project / MODEL).write_text("select 2 as one")
    second = release.refresh()
    assert second.stamp != first.stamp
    mine = admission.release_of("run")
    assert mine.stamp == first.stamp
    assert mine.path.is_relative_to(settings.state_dir())
    release.check(mine)
    [result] = invocation.invoke(mine, ["compile", "--quiet"]).result.results
    assert result.node.compiled_code == "select 1 as one"
    assert release.current() == second
    assert admission.release_of("next") == second


def test_a_release_that_nobody_keeps_is_said_to_be_gone(db: Connection, first: Release) -> None:
    with pytest.raises(ProjectError, match="is gone; trigger a new run"):
        release.of_run(db, first.stamp)
    archive.keep(db, first)
    assert release.of_run(db, first.stamp) != first


def test_what_is_kept_under_the_name_of_a_release_and_is_not_it_is_refused_and_left_nowhere(
    db: Connection, first: Release
) -> None:
    archive.keep(db, first)
    whole = seal.pack(first.path)
    first.manifest.write_text('{"nodes": {}}')
    changed = seal.pack(first.path)
    seal.seal(first.path, "another", release.releases().made_with)
    for packed in (changed, seal.pack(first.path), whole[:-100]):
        with db.cursor() as cursor:
            cursor.execute("update ops.releases set packed = %s", (packed,))
        with pytest.raises(ProjectError, match="is not it; trigger a new run"):
            release.of_run(db, first.stamp)
        assert list((settings.state_dir() / "dbt" / "releases").iterdir()) == []


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder into which this process may not write for a while; root may always, so it is nobody."""
    folder.chmod(0o555)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o755)


def test_where_the_others_are_read_only_a_release_is_unpacked_into_a_folder_of_the_user_s_own(
    first: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = releases.pack(first)
    with in_memory.folder("greenery-releases-") as home:
        for name in ("state", "tmp"):
            (home / name).mkdir()
        (home / "tmp").chmod(0o1777)
        machine(home / "state", monkeypatch)
        monkeypatch.setattr(releases.tempfile, "tempdir", str(home / "tmp"))
        with read_only(home / "state"):
            mine = release.releases().named(first.stamp, lambda _: packed)
            release.check(mine)
            [own] = (home / "tmp").iterdir()
            assert mine.path == own / first.stamp
            assert release.releases().named(first.stamp) == mine, "unpacked once"
            own.chmod(0o777)
            with pytest.raises(ProjectError, match="is not this user's alone"):
                release.releases().named(first.stamp)


def test_what_no_run_of_the_last_days_began_with_is_forgotten(db: Connection, first: Release) -> None:
    for stamp, days in (("used lately", 1), ("used long ago", 5)):
        runs.begin(db, stamp, stamp)
        with db.cursor() as cursor:
            cursor.execute(
                "update ops.runs set started_at = now() - %s * interval '1 day' where run_id = %s", (days, stamp)
            )
    with db.cursor() as cursor:
        cursor.execute(
            "insert into ops.releases (stamp, kept_at, packed)"
            " select unnest(array['used lately', 'used long ago']), now() - interval '9 days', ''"
        )
    archive.keep(db, first)
    archive.keep(db, first)
    with db.cursor() as cursor:
        cursor.execute("select stamp from ops.releases")
        assert {stamp for (stamp,) in cursor.fetchall()} == {"used lately", first.stamp}
