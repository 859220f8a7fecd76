"""The project, parsed as for the tests of dbt."""

from tests.dbt.conftest import project as parsed  # noqa: F401 - a fixture
