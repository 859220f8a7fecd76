"""Pages out of templates: everything that a template is given is escaped, and says times and numbers in one way."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from pydantic_core import to_json

from include import settings, words
from include.answers.answer import About, Kind, form_query
from include.dbt_project import helpers
from include.slack.draw import draw
from include.slack.message import Bold, Code, Line, plain
from include.unusual.series import Series
from include.words import Unit
from plugins.data_health import charts, lineage
from plugins.data_health.rows_of_figure import MOST

HERE = Path(__file__).parent
# In the order of the navigation.
SECTIONS = (
    ("", "Now"),
    ("history", "Over time"),
    ("unusual", "Unusual"),
    ("figures", "Figures"),
    ("models", "Models"),
    ("tests", "Tests"),
    ("next", "Next run"),
    ("answers", "Answers"),
    ("orders", "Orders"),
    ("inventory", "Inventory"),
    ("messages", "Messages"),
    ("docs", "dbt docs"),
)


def render(template: str, **values: Any) -> str:
    """A page as HTML."""
    return _templates.get_template(template).render(**values)


def path(*parts: str) -> str:
    """The path of a page of ours: `path("models", "dim_users")`; `path()` is the first page."""
    return settings.health_path(*parts) if parts and parts[0] else settings.health_path() + "/"


def series_path(series: Series, days: int | None = None) -> str:
    """The path of the page of a series."""
    given = {"about": series.unique_id, "measure": series.measure, "column": series.column, "item": series.item}
    asked = {name: value for name, value in {**given, "days": days}.items() if value}
    return f"{path('unusual', 'series')}?{urlencode(asked)}"


def answer_url(series: Series, day: datetime) -> str:
    """Where to answer to a day of a series."""
    return answer_path(series.about(day))


def answer_path(about: About, kind: Kind | None = None) -> str:
    """The path of the form that takes an answer, filled in."""
    return f"{path('answer')}?{form_query(about, kind)}"


def task_url(run_url: str, task_id: str) -> str:
    """The log of a task in the Airflow UI."""
    return f"{run_url}/tasks/{quote(task_id, safe='')}"


def static(name: str) -> str:
    """The path of a file in `static/`, with its hash, so that browsers may keep it for ever."""
    digest = blake2b((HERE / "static" / name).read_bytes(), digest_size=6).hexdigest()
    return f"{path('static', name)}?{digest}"


def vega() -> str:
    """The path of what draws charts, with its version, for the same."""
    return f"{path('static', charts.VEGA)}?{charts.vega_version()}"


def moment(at: datetime | None) -> Markup:
    """A time as people read it, with the exact one for machines; UTC."""
    if at is None:
        return Markup("never")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S} UTC", words.moment(at)
    )


def date(at: datetime | None) -> str:
    """A date as people read it, with its year."""
    return f"{at:%-d %b %Y}" if at else ""


def weekday(day: datetime) -> Markup:
    """A day with its weekday, by which what is usual differs."""
    return Markup('<time datetime="{}">{}</time>').format(day.isoformat(), f"{day:%a %-d %b %Y}")


def sentence(text: str) -> str:
    """With a capital letter, for a title."""
    return text[:1].upper() + text[1:]


def duration(length: timedelta | float | None) -> str:
    """How long something took; a number is seconds."""
    return "" if length is None else words.duration(length)


def number(value: float | int | None) -> str:
    """A number with its thousands apart."""
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def exact(value: Decimal | None, unit: Unit | str) -> str:
    """A figure to the cent, or as exactly as it is kept."""
    if value is None:
        return "nothing"
    if unit == Unit.PERCENT:
        return f"{value * 100:,.2f} %"
    if unit == Unit.DOLLARS:
        return f"{'-' if value < 0 else ''}${abs(value):,.2f}"
    return f"{value:,.4f}".rstrip("0").rstrip(".")


def change(value: Decimal, unit: Unit | str) -> str:
    """A difference of such figures, with its sign; that of shares in points."""
    said = f"{abs(value) * 100:,.2f} points" if unit == Unit.PERCENT else exact(abs(value), unit)
    return f"{'-' if value < 0 else '+'}{said}"


def told_on(at: datetime) -> str:
    """A moment as the address of a receipt has it, exact."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def prose(text: str) -> Markup:
    """A description: what stands in backticks is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def slack(blocks: list[dict[str, Any]]) -> Markup:
    """A message's blocks as Slack draws them."""
    return Markup(draw(blocks))  # noqa: S704 - escapes what it draws


def pieces(line: Line) -> Markup:
    """A line of a message: names and values as code."""
    tags = {Code: "code", Bold: "b"}
    told = ((tags.get(type(piece)), plain((piece,))) for piece in line)
    return Markup("").join(Markup("<{0}>{1}</{0}>").format(tag, text) if tag else escape(text) for tag, text in told)


def _json(value: Any, **_: Any) -> str:
    """JSON for a page: NaN and the infinities, which JSON has no word for, are null."""
    return to_json(value, inf_nan_mode="null").decode()


_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.policies["json.dumps_function"] = _json
_templates.filters.update(moment=moment, date=date, duration=duration, number=number, figure=words.figure)
_templates.filters.update(weekday=weekday, sentence=sentence)
_templates.filters.update(exact=exact, inside=words.inside, change=change, told_on=told_on)
_templates.filters.update(prose=prose, size=words.size, slack=slack, pieces=pieces)
_templates.globals.update(lineage=lineage.picture, touched=lineage.touched, apart=helpers.apart)
_templates.globals.update(path=path, static=static, task_url=task_url, sections=SECTIONS, airflow=settings.airflow_url)
_templates.globals.update(series_path=series_path, answer_url=answer_url, answer_path=answer_path, About=About)
_templates.globals.update(charts=charts, vega=vega, percent=Unit.PERCENT, most_rows=MOST, count=words.count)
