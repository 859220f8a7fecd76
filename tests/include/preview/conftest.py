"""What the tests of previews share: a project of one model, and a small shop that is published, with a change of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from include import raw, settings
from include.local import postgres
from include.preview import version
from include.warehouse import connect, roles, sandbox
from include.warehouse.sandbox import Sandbox
from tests import repository
from tests.conftest import copy_database, copy_warehouse
from tests.dbt.conftest import project as parsed  # noqa: F401 - a fixture: Greenery's own, parsed
from tests.forks import Forks
from tests.include.dbt_project.conftest import dbt_is_forked, dbts, fork_dbt, project  # noqa: F401 - fixtures
from tests.include.preview import shop
from tests.include.preview.shop import Previewed

# A parse is of one database: tests get a copy of what was published, under its name.
DATABASE, KEPT = "previewed", "previewed_kept"
CHANGED = "select user_id, 2 * sum(paid) as paid from {{ ref('orders') }} group by user_id"


@pytest.fixture(scope="session")
def kept(
    server: postgres.LocalPostgres,
    migrated: str,
    dbts: Forks,  # noqa: F811 - a fixture
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """A folder with the shop's project and its parses; what is published of it is in a database."""
    home = tmp_path_factory.mktemp("previewed")
    shop.write(home / "dbt", shop.FILES)
    repository.begin(home / "dbt")
    with pytest.MonkeyPatch.context() as environment:
        fork_dbt(dbts, environment)
        environment.setenv("GREENERY_DBT_DIR", str(home / "dbt"))
        environment.setenv("GREENERY_STATE_DIR", str(home / "state"))
        environment.setenv("WAREHOUSE_DEVELOPER_USER", roles.DEVELOPER)
        copy_warehouse(server, migrated, DATABASE)
        for key, value in server.database(DATABASE).environment().items():
            environment.setenv(key, value)
        with connect() as connection:
            with connection.cursor() as cursor:
                raw.create(cursor)
            roles.ensure(connection, login=True)
        shop.load()
        environment.setenv("WAREHOUSE_USER", roles.TRANSFORMER)
        shop.publish("run 1")
        copy_database(server, DATABASE, KEPT)
        yield home


@pytest.fixture
def previewed(kept: Path, server: postgres.LocalPostgres) -> Iterator[Previewed]:
    """The shop as it was published, the project with a change of the buyers, and a sandbox for each."""
    with postgres.admin(server) as cursor:
        cursor.execute(f"drop database {DATABASE} with (force)")
    copy_database(server, KEPT, DATABASE)
    with postgres.admin(server) as cursor:  # a copy has not what was granted on the database itself
        cursor.execute(f"grant create, temporary on database {DATABASE} to {roles.DEVELOPER}, {roles.TRANSFORMER}")
    folder = kept / "dbt"
    for name, text in shop.FILES.items():
        (folder / name).write_text(text.lstrip())
    (folder / "models/marts/buyers.sql").write_text(CHANGED)
    here = Sandbox("preview_ana")
    with connect("a test", settings.warehouse_developer()) as connection:
        for one in (here, version.was(here)):
            sandbox.create(connection, one.name, "a test")
        admin = psycopg2.connect(**server.database(DATABASE).libpq())
        admin.autocommit = True
        yield Previewed(folder, version.was(here), here, connection, admin)
        admin.close()
