"""dbt projects of any size, to see how what Airflow adds grows with the number of models, their time and their graph.

A project goes by a name: a number of models, after a shape and before how long each takes in the warehouse.

| | models |
|---|---|
| `300` | in layers of ten, each of which reads two of the layer before, and has three small tests |
| `wide-300` | the same in four layers |
| `deep-300` | the same in layers of four: never more at a time than threads |
| `fhir` | 187, the graph of google/fhir-dbt-analytics, the project of Cosmos' own benchmark: wide, and without tests |
| `mattermost` | 254, the layers and numbers of mattermost/mattermost-data-warehouse, with as many tests |

Without more they are empty: a thousand rows each. With `-slow` a model takes 1 to 2 s, 1.5 on average, and with `-real`
(`fhir` alone) as long as that project's do. It waits that long (`pg_sleep`) and uses no processor, as a warehouse does
that is another machine. A second of work on this machine's two cores would measure these: four such models at a time
take twice as long whoever starts them. What a model costs that does work here is told by Greenery's own project.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from include.settings import PROJECT_ROOT

_NAME = re.compile(r"(?:(?P<shape>wide-|deep-)?(?P<models>\d+)|(?P<public>fhir|mattermost))(?P<pace>-slow|-real)?")
TESTS = (("id", "unique"), ("id", "not_null"), ("amount", "not_null"))
# Seconds of a model, on average.
SLOW = 1.5
# The graph as `dbt ls` tells it (astronomer/cosmos-benchmark at e871fb4, June 2026,
# dbt/fhir-dbt-analytics-dbt-ls-output.json): 187 models and seeds in three layers, no data tests. The first has 6, of
# which one is read by 181. The second has 24 views of it, read so often; the third 157 tables, which read it and so
# many of these. A view is a table here, and an empty one.
FHIR_ROOTS = 6
FHIR_READ = (33, 23, 18, 17, 15, 14, 13, 12, 12, 9, 9, 9, 8, 7, 7, 5, 4, 3, 3, 2, 2, 1, 1, 0)
FHIR_READS = (12, 3, *[2] * 57, *[1] * 98)
# Times of single models are not published. Its `dbt build` with four threads took 436 s (benchmark/readme.md there,
# 15 May 2026, the producer of WATCHER): four threads' seconds by the tables, since the views take next to none.
FHIR_SECONDS = 436 * 4 / len(FHIR_READS)
# transform/mattermost-analytics at 61af242 (September 2025), counted by its `ref`s: models by their layer, and how many
# others the 169 read that are not in the first. 401 generic tests.
MATTERMOST_LAYERS = (85, 75, 38, 18, 11, 7, 6, 3, 5, 3, 2, 1)
MATTERMOST_READS = (*[1] * 96, *[2] * 39, *[3] * 16, *[4] * 3, *[5] * 5, *[6] * 3, *[7] * 4, 8, 10, 12)
MATTERMOST_TESTS = 401


@dataclass(frozen=True)
class Model:
    """A table: the numbers of those that it reads, how many tests it has, and how many seconds it waits."""

    reads: tuple[int, ...]
    tests: int = 0
    seconds: float = 0


def models(name: str) -> list[Model]:
    """The models of the project of that name, each after those that it reads. Raises ValueError."""
    found = _NAME.fullmatch(name)
    if not found or found["models"] == "0" or (found["pace"] == "-real" and found["public"] != "fhir"):
        raise ValueError(f"{name}: no such project; try 300, wide-300, deep-300-slow, mattermost-slow or fhir-real")
    waiting = 0
    if found["public"] == "fhir":
        made, waiting = _fhir(), FHIR_ROOTS + len(FHIR_READ)
    elif found["public"]:
        made = _mattermost()
    else:
        number = int(found["models"])
        made = _layers(number, {"wide-": max(number // 4, 2), "deep-": 4}.get(found["shape"], 10))
    average = {None: 0, "-slow": SLOW, "-real": FHIR_SECONDS}[found["pace"]]
    return [replace(one, seconds=_spread(average, at)) if at >= waiting else one for at, one in enumerate(made)]


def write(target: Path, name: str) -> Path:
    """The project of that name, in a folder; returns it."""
    (target / "models").mkdir(parents=True)
    (target / "macros").mkdir()
    shutil.copy(PROJECT_ROOT / "dbt" / "profiles.yml", target)
    (target / "dbt_project.yml").write_text(
        "name: greenery\nprofile: greenery\nversion: '1.0.0'\nflags: {send_anonymous_usage_stats: false}\n"
        "models: {+materialized: table}\n"
    )
    described = []
    for number, model in enumerate(models(name)):
        (target / "models" / f"{_called(number)}.sql").write_text(_sql(model))
        tests: dict[str, list[str]] = {}
        for column, test in TESTS[: model.tests]:
            tests.setdefault(column, []).append(test)
        columns = [{"name": column, "data_tests": of_it} for column, of_it in tests.items()]
        meta = {"seconds": model.seconds}
        described.append({"name": _called(number), "config": {"meta": meta}, "columns": columns})
    schema = {"version": 2, "models": described}
    (target / "models" / "_models.yml").write_text(json.dumps(schema, indent=2))  # YAML reads JSON
    return target


def _layers(number: int, width: int) -> list[Model]:
    made = []
    for one in range(number):
        before = (one // width - 1) * width
        reads = (one - width, before + (one + 1) % width) if one >= width else ()
        made.append(Model(reads, len(TESTS)))
    return made


def _fhir() -> list[Model]:
    made = [Model(())] * FHIR_ROOTS + [Model((0,))] * len(FHIR_READ)
    left = list(FHIR_READ)
    for number in FHIR_READS:
        views = sorted(range(len(left)), key=lambda view: -left[view])[:number]
        for view in views:
            left[view] -= 1
        made.append(Model((0, *(FHIR_ROOTS + view for view in views))))
    return made


def _mattermost() -> list[Model]:
    """Each reads one of the layer before, and others by chance: which ones is not told."""
    made: list[Model] = []
    numbers = (MATTERMOST_READS[at * 61 % len(MATTERMOST_READS)] for at in range(len(MATTERMOST_READS)))
    total, before = sum(MATTERMOST_LAYERS), 0
    for layer, size in enumerate(MATTERMOST_LAYERS):
        start = len(made)
        for at in range(size):
            reads: tuple[int, ...] = ()
            if layer:
                nearest = before + at % (start - before)
                reads = tuple((nearest - 7 * one) % start for one in range(next(numbers)))
            tests = MATTERMOST_TESTS * (len(made) + 1) // total - MATTERMOST_TESTS * len(made) // total
            made.append(Model(reads, tests))
        before = start
    return made


def _spread(average: float, number: int) -> float:
    """Seconds of a model: two thirds to four thirds of the average, evenly, and the same each time."""
    return round(average * 2 / 3 * (1 + number * 0.618 % 1), 2)


def _called(number: int) -> str:
    return f"model_{number:04}"


def _sql(model: Model) -> str:
    sources = [f"{{{{ ref('{_called(one)}') }}}} as t{at}" for at, one in enumerate(model.reads)]
    first, *others = sources or ["generate_series(1, 1000) as t0 (id)"]
    total = " + ".join(f"t{at}.amount" for at in range(len(sources)))
    return "\n".join(
        (
            f"select t0.id, {f'({total}) / {len(sources)}' if sources else 't0.id * 2'} as amount",
            f"from {first}",
            *(f"join {other} on t{at}.id = t0.id" for at, other in enumerate(others, start=1)),
            *([f"cross join pg_sleep({model.seconds})"] if model.seconds else []),
            "",
        )
    )
