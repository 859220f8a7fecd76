"""Charts as Vega-Lite specs, made with Altair; the browser draws them (`static/page.js`), in the colors of the page.

A spec is made once a process and has its data put in afterwards: making and validating one takes Altair some 100 ms.
Colors come by name from `static/page.js`, as styles and as the range of categories, so that light and dark differ.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time
from functools import cache, lru_cache
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING, Any

from include import words
from include.unusual.words import TIMES_OF_DAY, unit_of
from include.words import Unit

if TYPE_CHECKING:
    from altair import TopLevelMixin

    from include.dbt_project.manifest import Manifest
    from include.unusual.series import Series
    from plugins.data_health.bands import DayOfSeries
    from plugins.data_health.figures_over_time import DayValue, RunValue
    from plugins.data_health.times import ModelTime, TaskTime

Spec = dict[str, Any]
# The name of the script that draws, below `static/`.
VEGA = "vega.js"
_POINTS, _FAILED = "points", "failed"
_BAND, _UNUSUAL, _ANSWERED = "band", "unusual", "answered"
_HEIGHT, _TALL = 150, 240
_NEVER = datetime.min
_bundling = Lock()
MINUTE = "%-d %b %Y %H:%M UTC"
# An axis of hours after midnight.
CLOCK = "clock"
# As `words.figure` puts them into words.
_FORMATS = {Unit.NUMBER: ",.1~f", Unit.DOLLARS: "$,.0f", Unit.PERCENT: ".1%"}


# An axis of rows.
ROWS = _FORMATS[Unit.NUMBER]


def vega() -> bytes:
    """Vega, Vega-Lite and vega-embed as one script, out of vl-convert. The first call takes a second or two."""
    with _bundling:  # so that the first readers wait for one of them
        return _bundled()


@cache
def _bundled() -> bytes:
    """Made by a process of its own: the JavaScript engine that bundles it would keep 100 MB for ever."""
    bundle = "import sys, vl_convert; sys.stdout.buffer.write(vl_convert.javascript_bundle().encode())"
    return subprocess.run([sys.executable, "-c", bundle], check=True, stdout=subprocess.PIPE, timeout=60).stdout


def vega_version() -> str:
    """What changes whenever `vega` does."""
    return version("vl-convert-python")


def by_day(values: Iterable[DayValue], failed: Iterable[date], unit: Unit, days: Iterable[DayOfSeries] = ()) -> Spec:
    """A line by day, a mark on days on which runs failed, and the band of what is usual where `days` have one."""
    days = list(days)
    usual = {one.day: one.usual for one in days}
    points = [
        {
            "at": _iso(one.day),
            "value": one.value,
            "said": words.figure(one.value, unit),
            "usual": usual.get(one.day, ""),
        }
        for one in values
    ]
    line = _line(_FORMATS[unit], "%-d %b %Y", max(_days(points), 1), banded=bool(days))
    return _with_marks(line, points, failed, days)


def by_run(values: Iterable[RunValue], failed: Iterable[date], unit: Unit) -> Spec:
    """A line by run, with the same marks."""
    points = [{"at": _iso(one.started_at), "value": one.value, "said": words.figure(one.value, unit)} for one in values]
    return _with_marks(_line(_FORMATS[unit], MINUTE, _days(points)), points, failed)


def of_series(days: Sequence[DayOfSeries], axis: str, *, small: bool = False) -> Spec:
    """A series by day with its band; days that were told as unusual, or answered to, are marked.

    `axis` is what `axis_of` says of it.
    """
    points = [{"at": _iso(one.day), "value": one.value, "said": one.said, "usual": one.usual} for one in days]
    height = _HEIGHT if small else _TALL
    return _with_marks(_line(axis, "%-d %b %Y", max(_days(points), 1), height, banded=True), points, (), days)


def task_times(times: Iterable[TaskTime], tasks: Sequence[str]) -> Spec:
    """Seconds by run, stacked by task in the order of `tasks`."""
    data = [
        {"at": _iso(one.started_at), "task": one.task, "seconds": round(one.seconds, 2), "rank": tasks.index(one.task)}
        for one in times
    ]
    return {**_stacked(tuple(tasks)), "datasets": {_POINTS: data}}


def model_times(models: Iterable[ModelTime]) -> Spec:
    """Mean seconds by model, the slowest first."""
    data = [
        {"model": one.name, "mean": round(one.mean, 3), "longest": round(one.longest, 3), "last": round(one.last, 3)}
        for one in models
    ]
    return {**_bars(), "height": 22 * len(data), "datasets": {_POINTS: data}}


def axis_of(series: Series, facts: Manifest) -> str:
    """How the axis of a series says its values."""
    return CLOCK if series.measure in TIMES_OF_DAY else _FORMATS[unit_of(series, facts)]


def _with_marks(spec: Spec, points: list[Spec], failed: Iterable[date], days: Iterable[DayOfSeries] = ()) -> Spec:
    """The spec with its data, and without the layers that would show nothing: Vega warns of those."""
    shown = {one["at"] for one in points}
    days = [one for one in days if _iso(one.day) in shown]
    data = {
        _POINTS: points,
        _BAND: [
            {"at": _iso(one.day), "least": one.expected.least, "most": one.expected.most}
            for one in days
            if one.expected
        ],
        _UNUSUAL: [{"at": _iso(one.day), "value": one.value} for one in days if one.is_unusual],
        _ANSWERED: [{"at": _iso(one.day), "answer": " · ".join(one.answers)} for one in days if one.answers],
        _FAILED: [
            {"at": _iso(day), "run": "failed"}
            for day in failed
            if points and points[0]["at"] <= _iso(day) <= points[-1]["at"]
        ],
    }
    layers = [layer for layer in spec["layer"] if layer["data"]["name"] == _POINTS or data[layer["data"]["name"]]]
    return {**spec, "layer": layers, "datasets": data}


def _days(points: list[Spec]) -> int:
    """Every how many days the axis says which it is; 0 where all is of a few days, and the hour tells more."""
    first, last = (datetime.fromisoformat(one["at"]) for one in (points[0], points[-1])) if points else (_NEVER, _NEVER)
    return (last - first).days // 6


def _iso(at: date) -> str:
    at = at if isinstance(at, datetime) else datetime.combine(at, time())
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


# Below here Altair is imported by what uses it: it takes a second and 60 MB, which only charts are worth.


# Bounded, since the axis depends on how many days there are.
@lru_cache(maxsize=64)
def _line(number_format: str, time_format: str, every: int, height: int = _HEIGHT, *, banded: bool = False) -> Spec:
    import altair as alt

    nearest = alt.selection_point(name="nearest", nearest=True, on="pointerover", fields=["at"], empty=False)
    ticks = alt.TimeIntervalStep(interval="day", step=every) if every else 3
    days = alt.Axis(grid=False, labelOverlap=True, format="%-d %b" if every else "%-d %b %H:%M", tickCount=ticks)
    if number_format == CLOCK:
        values = alt.Axis(labelExpr="utcFormat(datum.value * 3600000, '%H:%M')", tickCount=4)
    else:
        values = alt.Axis(format=number_format, tickCount=4, tickMinStep=0.001 if "%" in number_format else 1)
    at = alt.X("at:T", title=None, scale=alt.Scale(type="utc"), axis=days)
    value = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=values)
    # Here a text worked out would be lost: Vega-Lite looks for it in the wrong place where the nearest point is shown.
    when = alt.Tooltip("utcyearmonthdatehoursminutes(at):T", title="At", format=time_format)
    tooltip = [when, alt.Tooltip("said:N", title="Value")]
    tooltip += [alt.Tooltip("usual:N", title="Usual")] if banded else []
    points = alt.Chart(alt.NamedData(_POINTS)).encode(x=at, y=value)
    band = (
        alt.Chart(alt.NamedData(_BAND))
        .mark_area(style="band")
        .encode(x=at, y=alt.Y("least:Q", title=None, scale=alt.Scale(zero=False), axis=values), y2="most:Q")
    )
    unusual = (
        alt.Chart(alt.NamedData(_UNUSUAL)).mark_point(style="unusual", shape="diamond", size=90).encode(x=at, y=value)
    )
    foot = {"y": alt.value(height - 12), "y2": alt.value(height)}
    failed = _mark(_FAILED).encode(
        x=at, **foot, tooltip=[alt.Tooltip("when:N", title="At"), alt.Tooltip("run:N", title="Run")]
    )
    answered = _mark(_ANSWERED).encode(
        x=at, **foot, tooltip=[alt.Tooltip("when:N", title="At"), alt.Tooltip("answer:N", title="Answer")]
    )
    hovered = (
        points.mark_point(style="hovered", size=60)
        .encode(opacity=alt.condition(nearest, alt.value(1), alt.value(0)), tooltip=tooltip)
        .add_params(nearest)
    )
    return _finished(alt.layer(band, points.mark_line(), unusual, hovered, failed, answered), height)


def _mark(name: str) -> Any:
    """A short line at the foot of a day."""
    import altair as alt

    return alt.Chart(alt.NamedData(name)).transform_calculate(when=_said("%-d %b %Y")).mark_rule(style=name)


@lru_cache(maxsize=8)
def _stacked(tasks: tuple[str, ...]) -> Spec:
    import altair as alt

    axis = alt.Axis(labelExpr="utcFormat(toDate(datum.value), '%-d %b')", labelAngle=0, labelOverlap=True, ticks=False)
    legend = alt.Legend(orient="bottom", columns=2, labelLimit=150)
    chart = (
        alt.Chart(alt.NamedData(_POINTS))
        .transform_calculate(when=_said(MINUTE))
        .mark_bar()
        .encode(
            x=alt.X("at:O", title=None, sort=None, axis=axis),
            y=alt.Y("seconds:Q", title="seconds"),
            color=alt.Color("task:N", title=None, sort=list(tasks), legend=legend),
            order=alt.Order("rank:Q"),
            tooltip=[
                alt.Tooltip("task:N", title="Task"),
                alt.Tooltip("when:N", title="Run of"),
                alt.Tooltip("seconds:Q", title="Seconds", format=",.2f"),
            ],
        )
    )
    return _finished(chart, 260)


@cache
def _bars() -> Spec:
    import altair as alt

    chart = (
        alt.Chart(alt.NamedData(_POINTS))
        .mark_bar()
        .encode(
            x=alt.X("mean:Q", title="seconds, on average", axis=alt.Axis(tickCount=5)),
            y=alt.Y("model:N", title=None, sort=None, axis=alt.Axis(labelLimit=150)),
            tooltip=[
                alt.Tooltip("model:N", title="Model"),
                alt.Tooltip("mean:Q", title="On average", format=",.2f"),
                alt.Tooltip("longest:Q", title="Longest", format=",.2f"),
                alt.Tooltip("last:Q", title="Last", format=",.2f"),
            ],
        )
    )
    return _finished(chart)


def _said(time_format: str) -> str:
    """A time as people read it, for a tooltip: Vega's own would tell it in the time zone of who reads."""
    return f"utcFormat(toDate(datum.at), '{time_format}')"


def _finished(chart: TopLevelMixin, height: int = _HEIGHT) -> Spec:
    spec = chart.properties(width="container", height=height).to_dict()
    spec.pop("config", None)  # Altair's own look
    return spec
