"""dbt projects of any size, to see how what Airflow adds grows with the number of models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from include.settings import PROJECT_ROOT

# Models of one layer read two of the layer before: as wide as a real project, and deeper the larger it is.
LAYER = 10


def write(target: Path, models: int) -> Path:
    """A project of so many tables, each with three tests, in layers of ten; returns its folder."""
    (target / "models").mkdir(parents=True)
    (target / "macros").mkdir()
    shutil.copy(PROJECT_ROOT / "dbt" / "profiles.yml", target)
    (target / "dbt_project.yml").write_text(
        "name: greenery\nprofile: greenery\nversion: '1.0.0'\nflags: {send_anonymous_usage_stats: false}\n"
        "models: {+materialized: table}\n"
    )
    columns = [{"name": "id", "data_tests": ["unique", "not_null"]}, {"name": "amount", "data_tests": ["not_null"]}]
    names = [f"model_{number:03}" for number in range(models)]
    for number, name in enumerate(names):
        if number < LAYER:
            sql = "select id, id * 2 as amount from generate_series(1, 1000) as numbers (id)"
        else:
            first, second = number - LAYER, (number // LAYER - 1) * LAYER + (number + 1) % LAYER
            sql = (
                "select one.id, (one.amount + other.amount) / 2 as amount\n"
                f"from {{{{ ref('{names[first]}') }}}} as one\n"
                f"join {{{{ ref('{names[second]}') }}}} as other on other.id = one.id"
            )
        (target / "models" / f"{name}.sql").write_text(sql + "\n")
    schema = {"version": 2, "models": [{"name": name, "columns": columns} for name in names]}
    (target / "models" / "_models.yml").write_text(json.dumps(schema, indent=2))  # YAML reads JSON
    return target
