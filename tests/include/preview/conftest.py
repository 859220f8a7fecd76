"""What the tests of previews share: a project of one model, and a small shop that is published, with a change of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from include import settings
from include.local import postgres
from include.preview import version
from include.warehouse import connect, roles, sandbox
from include.warehouse.sandbox import Sandbox
from tests import repository
from tests.dbt.conftest import project as parsed  # noqa: F401 - a fixture: Greenery's own, parsed
from tests.forks import Forks
from tests.include.dbt_project.conftest import dbt_is_forked, project  # noqa: F401 - fixtures
from tests.include.preview import shop
from tests.include.preview.shop import Home, Previewed

CHANGED = "select user_id, 2 * sum(paid) as paid from {{ ref('orders') }} group by user_id"


@pytest.fixture(scope="session")
def published(
    server: postgres.LocalPostgres,
    migrated: str,
    dbts: Forks,
    tmp_path_factory: pytest.TempPathFactory,
) -> Home:
    """The shop's project in a repository, with what is published of it."""
    home = Home(tmp_path_factory.mktemp("published"), shop.FILES, server, dbts)
    home.begin(migrated)
    repository.begin(home.folder)
    with home.entered():
        shop.load()
    with home.entered(roles.TRANSFORMER):
        shop.publish("run 1")
    home.keep()
    return home


@pytest.fixture
def previewed(published: Home) -> Iterator[Previewed]:
    """The shop as it was published, the project with a change of the buyers, and a sandbox for each."""
    published.go_back()
    (published.folder / "models/marts/buyers.sql").write_text(CHANGED)
    here = Sandbox("preview_ana")
    there = version.was(here)
    with (
        published.entered(roles.TRANSFORMER),
        connect("a test", settings.warehouse_developer()) as connection,
        closing(psycopg2.connect(**published.warehouse.libpq())) as admin,
    ):
        admin.autocommit = True
        for one in (here, there):
            sandbox.create(connection, one.name, "a test")
        yield Previewed(published.folder, there, here, connection, admin)
