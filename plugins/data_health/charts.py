"""Charts as Vega-Lite specs, made with Altair; the browser draws them (`static/page.js`), in the colors of the page.

A spec is made once a process and has its data put in afterwards: making and validating one takes Altair some 100 ms.
Colors come by name from `static/page.js`, as styles and as the range of categories, so that light and dark differ.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time
from functools import cache
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING, Any

from include.words import Unit

if TYPE_CHECKING:
    from altair import TopLevelMixin

    from plugins.data_health.figures_over_time import DayValue, RunValue
    from plugins.data_health.times import ModelTime, TaskTime

Spec = dict[str, Any]
# The name of the script that draws, below `static/`.
VEGA = "vega.js"
_POINTS, _FAILED = "points", "failed"
_HEIGHT = 150
_NEVER = datetime.min
_bundling = Lock()
MINUTE = "%-d %b %Y %H:%M UTC"
# As `words.figure` puts them into words.
_FORMATS = {Unit.NUMBER: ",.1~f", Unit.DOLLARS: "$,.0f", Unit.PERCENT: ".1%"}


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


def by_day(values: Iterable[DayValue], failed: Iterable[date], unit: Unit) -> Spec:
    """A line by day, with a mark on the days on which runs failed."""
    points = [{"at": _iso(one.day), "value": one.value} for one in values]
    return _with_marks(_line(_FORMATS[unit], "%-d %b %Y", max(_days(points), 1)), points, failed)


def by_run(values: Iterable[RunValue], failed: Iterable[date], unit: Unit) -> Spec:
    """A line by run, with the same marks."""
    points = [{"at": _iso(one.started_at), "value": one.value} for one in values]
    return _with_marks(_line(_FORMATS[unit], MINUTE, _days(points)), points, failed)


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


def _with_marks(spec: Spec, points: list[Spec], failed: Iterable[date]) -> Spec:
    known = [] if not points else [day for day in failed if points[0]["at"] <= _iso(day) <= points[-1]["at"]]
    marks = [{"at": _iso(day), "run": "failed"} for day in known]
    layers = spec["layer"] if marks else spec["layer"][:-1]  # Vega warns of a layer of nothing
    return {**spec, "layer": layers, "datasets": {_POINTS: points, _FAILED: marks}}


def _days(points: list[Spec]) -> int:
    """Every how many days the axis says which it is; 0 where all is of a few days, and the hour tells more."""
    first, last = (datetime.fromisoformat(one["at"]) for one in (points[0], points[-1])) if points else (_NEVER, _NEVER)
    return (last - first).days // 6


def _iso(at: date) -> str:
    at = at if isinstance(at, datetime) else datetime.combine(at, time())
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


# Below here Altair is imported by what uses it: it takes a second and 60 MB, which only charts are worth.


@cache
def _line(number_format: str, time_format: str, every: int) -> Spec:
    import altair as alt

    nearest = alt.selection_point(name="nearest", nearest=True, on="pointerover", fields=["at"], empty=False)
    ticks = alt.TimeIntervalStep(interval="day", step=every) if every else 3
    days = alt.Axis(grid=False, labelOverlap=True, format="%-d %b" if every else "%-d %b %H:%M", tickCount=ticks)
    values = alt.Axis(format=number_format, tickCount=4, tickMinStep=0.001 if "%" in number_format else 1)
    at = alt.X("at:T", title=None, scale=alt.Scale(type="utc"), axis=days)
    value = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=values)
    # Here a text worked out would be lost: Vega-Lite looks for it in the wrong place where the nearest point is shown.
    when = alt.Tooltip("utcyearmonthdatehoursminutes(at):T", title="At", format=time_format)
    tooltip = [when, alt.Tooltip("value:Q", title="Value", format=number_format)]
    points = alt.Chart(alt.NamedData(_POINTS)).encode(x=at, y=value)
    failed = (
        alt.Chart(alt.NamedData(_FAILED))
        .transform_calculate(when=_said("%-d %b %Y"))
        .mark_rule(style="failed")
        .encode(
            x=at,
            y=alt.value(_HEIGHT - 12),
            y2=alt.value(_HEIGHT),
            tooltip=[alt.Tooltip("when:N", title="At"), alt.Tooltip("run:N", title="Run")],
        )
    )
    hovered = (
        points.mark_point(style="hovered", size=60)
        .encode(opacity=alt.condition(nearest, alt.value(1), alt.value(0)), tooltip=tooltip)
        .add_params(nearest)
    )
    return _finished(alt.layer(points.mark_line(), hovered, failed))


@cache
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
