"""The tests. What asserts for several of them says what it compared, as they do."""

import pytest

pytest.register_assert_rewrite("tests.deployment", "tests.dbt.days")
