"""What the tests of the DAGs share with those of the dbt project: its parse, which takes seconds."""

from tests.dbt.conftest import project as parsed  # noqa: F401 - a fixture
