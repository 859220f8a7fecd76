"""What these tests share with those of the dbt project: a project of one model, released and broken once."""

from tests.include.dbt_project.conftest import broken, kept, project, released  # noqa: F401 - fixtures
