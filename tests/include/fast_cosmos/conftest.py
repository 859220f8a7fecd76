"""What these tests share with those of the dbt project: a project of one model, released and broken once."""

from tests.include.dbt_project.conftest import (  # noqa: F401 - fixtures
    broken,
    dbt_is_forked,
    kept,
    project,
    released,
)
