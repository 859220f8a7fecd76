"""The charts' specs, and what draws them."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from datetime import UTC, date, datetime

import pytest
import vl_convert

from include.settings import PROJECT_ROOT
from include.unusual.series import Expected
from include.words import Unit
from plugins.data_health import charts, pages
from plugins.data_health.bands import DayOfSeries
from plugins.data_health.figures_over_time import DayValue, Metric, RunValue
from plugins.data_health.times import ModelTime, TaskTime
from plugins.data_health.views.history import History

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAYS = [DayValue(date(2026, 11, day), day / 100) for day in (21, 22, 23)]
OF_SERIES = [
    DayOfSeries(
        one.day, one.value, Expected(0.2, 0.1, 0.3, 40), "21 %", "10 to 30 %", index == 1, ("mine, by ada",) * index
    )
    for index, one in enumerate(DAYS)
]
SPECS = {
    "series": charts.of_series(OF_SERIES, charts.CLOCK),
    "by day with a band": charts.by_day(DAYS, [], Unit.PERCENT, OF_SERIES),
    "by day": charts.by_day(DAYS, [date(2026, 11, 22)], Unit.PERCENT),
    "by run": charts.by_run([RunValue("run", NOON, 0.5)], [], Unit.PERCENT),
    "tasks": charts.task_times([TaskTime("run", NOON, task, 1.5) for task in ("a", "b")], ("a", "b")),
    "models": charts.model_times([ModelTime("m", 2, 1.0, 1.5, 0.5)]),
}


def test_vega_draws_each() -> None:
    for name, spec in SPECS.items():
        drawn = vl_convert.vegalite_to_svg({**spec, "width": 300})
        assert 'class="mark-' in drawn, name


def test_a_figure_that_is_no_number_leaves_the_page_json() -> None:
    values = [*DAYS, *(DayValue(date(2026, 11, 24), odd) for odd in (math.nan, math.inf, -math.inf))]
    day = date(2026, 11, 24)
    page = pages.render(
        "history.html",
        answer=History(4, day, day, (), (), (), (Metric("revenue", "Revenue", Unit.DOLLARS, values),), {}, (), (), ()),
    )

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    [spec] = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    told = json.loads(spec, parse_constant=refuse)
    assert [one["value"] for one in told["datasets"]["points"]] == [0.21, 0.22, 0.23, None, None, None]


def test_each_is_as_wide_as_its_place_and_brings_no_look_of_its_own() -> None:
    for name, spec in SPECS.items():
        assert (spec["width"], "config" in spec) == ("container", False), name


def test_failed_days_are_marked_where_there_are_figures() -> None:
    before = charts.by_day(DAYS, [date(2026, 11, 1), date(2026, 11, 22)], Unit.PERCENT)
    assert [mark["at"] for mark in before["datasets"]["failed"]] == ["2026-11-22T00:00:00Z"]


def test_a_series_has_its_band_and_marks_what_was_unusual_and_answered() -> None:
    data = SPECS["series"]["datasets"]
    assert [(one["least"], one["most"]) for one in data["band"]] == [(0.1, 0.3)] * 3
    assert [one["at"][:10] for one in data["unusual"]] == ["2026-11-22"]
    assert [(one["at"][:10], one["answer"]) for one in data["answered"]] == [
        ("2026-11-22", "mine, by ada"),
        ("2026-11-23", "mine, by ada · mine, by ada"),
    ]


def test_what_one_chart_shows_is_not_in_the_next() -> None:
    empty = charts.by_day([], [date(2026, 11, 22)], Unit.PERCENT)
    assert not any(empty["datasets"].values())


def test_what_draws_them_needs_no_eval_and_has_its_version_in_its_address() -> None:
    script = charts.vega().decode()
    assert "window.vegaEmbed=" in script
    assert pages.vega().endswith(f"/static/vega.js?{charts.vega_version()}")


def test_altair_is_imported_by_charts_alone() -> None:
    loaded = (
        "import sys; import plugins.data_health.pages; sys.exit('altair' in sys.modules or 'vl_convert' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", loaded], cwd=PROJECT_ROOT, check=True, timeout=60)
