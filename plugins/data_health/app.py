"""The app that Airflow mounts at /data-health: every view as a page and as JSON, behind Airflow's login."""

from __future__ import annotations

import logging
import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

import psycopg2
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from pydantic import BeforeValidator
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException as AnyHTTPException

from include.receipts.move import Side
from include.unusual.series import Measure
from plugins.data_health import answering, charts, dbt_docs, monitor, pages, rows_of_figure
from plugins.data_health.access import may_see, to_login
from plugins.data_health.answers import Question, as_json, as_page
from plugins.data_health.headers import Headers
from plugins.data_health.reading import Unreadable, reading, why_unreadable
from plugins.data_health.results import TestState
from plugins.data_health.views import (
    answers as answers_view,
)
from plugins.data_health.views import (
    figures,
    history,
    inventory,
    messages,
    model,
    models,
    next_release,
    now,
    orders,
    proof,
    receipt,
    run,
    run_list,
    series,
    test,
    tests,
    unusual,
)

log = logging.getLogger(__name__)

# What has a hash or a version in its address.
KEEP = {"Cache-Control": "private, max-age=31536000, immutable"}
# Postgres takes no text with a null character.
_TEXT = r"^[^\x00]+$"
# A query is text, which is no literal number yet.
Days = Annotated[Literal[30, 90, 365], BeforeValidator(int), Query(description="How many days back.")]
Name = Annotated[
    str, Path(max_length=512, pattern=_TEXT, description="What its page is called, or its unique id in dbt.")
]


def _now() -> Question:
    return Question(now.read)


def _history(days: Days = 90) -> Question:
    return Question(history.read, (days,))


def _unusual() -> Question:
    return Question(unusual.read)


# Text of any kind, as data may have it.
Part = Annotated[str, Query(max_length=512, pattern=r"^[^\x00]*$")]


def _series(
    about: Annotated[str, Query(max_length=512, pattern=_TEXT, description="The unique id in dbt of what it is of.")],
    measure: Measure,
    column: Part = "",
    item: Part = "",
    days: Days = 90,
) -> Question:
    return Question(series.read, (days, about, measure, column, item))


def _proof() -> Question:
    return Question(proof.read)


def _runs(days: Days = 30) -> Question:
    return Question(run_list.read, (days,))


def _run(run_id: Annotated[str, Path(max_length=250, pattern=_TEXT, description="As Airflow calls it.")]) -> Question:
    return Question(run.read, (run_id,))


# No day of a shop, but what dates can be reckoned with.
Day = Annotated[date, Path(description="A UTC day.", gt=date(1000, 1, 1), lt=date(9999, 1, 1))]
MetricName = Annotated[str, Path(max_length=512, pattern=_TEXT, description="A metric, as daily_metrics calls it.")]


def _figures(
    until: Annotated[
        date | None, Query(description="The last UTC day.", gt=date(1000, 1, 1), lt=date(9999, 1, 1))
    ] = None,
) -> Question:
    return Question(figures.read, (until,))


def _receipt(
    metric: MetricName,
    day: Day,
    told_on: Annotated[
        datetime | None,
        BeforeValidator(lambda given: receipt.moment(given) if isinstance(given, str) else given),
        Query(description="As told at an ISO moment, or by the end of a UTC day; without it, now."),
    ] = None,
) -> Question:
    return Question(receipt.read, (metric, day, told_on))


def _next() -> Question:
    return Question(next_release.read)


def _models() -> Question:
    return Question(models.read)


def _model(name: Name) -> Question:
    return Question(model.read, (name,))


def _tests(
    state: Annotated[TestState | None, Query(description="Those that stand so; without it, all.")] = None,
) -> Question:
    return Question(tests.read, (state,))


def _test(name: Name) -> Question:
    return Question(test.read, (name,))


def _orders(days: Days = 30) -> Question:
    return Question(orders.read, (days,))


def _orders_of_day(day: Annotated[date, Path(description="A UTC day.")]) -> Question:
    return Question(orders.read_day, (day,))


def _inventory() -> Question:
    return Question(inventory.read)


def _answers() -> Question:
    return Question(answers_view.read)


def _messages(page: Annotated[int, Query(ge=1, le=100_000, description="From 1, the newest first.")] = 1) -> Question:
    return Question(messages.read, (page,))


def _message(message_id: Annotated[int, Path(ge=1, lt=2**63)]) -> Question:
    return Question(messages.read_one, (message_id,))


# Path, what it answers with, the question behind it, and the template that draws it.
VIEWS: tuple[tuple[str, type, Any, str], ...] = (
    ("/", now.Now, _now, "now.html"),
    ("/history", history.History, _history, "history.html"),
    ("/unusual", unusual.UnusualFigures, _unusual, "unusual.html"),
    ("/unusual/series", series.OneSeries, _series, "series.html"),
    ("/unusual/proof", proof.Proved, _proof, "proof.html"),
    ("/figures", figures.Figures, _figures, "figures.html"),
    ("/figures/{metric}/{day}", receipt.Receipt, _receipt, "receipt.html"),
    ("/runs", run_list.RunList, _runs, "run_list.html"),
    ("/runs/{run_id}", run.RunResults, _run, "run.html"),
    ("/next", next_release.NextRelease, _next, "next.html"),
    ("/models", models.Models, _models, "models.html"),
    ("/models/{name}", model.Model, _model, "model.html"),
    ("/tests", tests.Tests, _tests, "tests.html"),
    ("/tests/{name}", test.OneTest, _test, "test.html"),
    ("/orders", orders.Orders, _orders, "orders.html"),
    ("/orders/{day}", orders.Day, _orders_of_day, "orders_of_day.html"),
    ("/inventory", inventory.Inventory, _inventory, "inventory.html"),
    ("/answers", answers_view.Answers, _answers, "answers.html"),
    ("/messages", messages.Messages, _messages, "messages.html"),
    ("/messages/{message_id}", messages.Message, _message, "message.html"),
)

router = APIRouter(dependencies=[may_see])


def _serve(path: str, kind: type, question: Any, template: str) -> None:
    def page(request: Request, asked: Question = Depends(question)) -> Response:
        return as_page(request, asked, template)

    def data(request: Request, asked: Question = Depends(question)) -> Response:
        return as_json(request, asked)

    name = kind.__name__.lower()
    router.add_api_route(path, page, name=f"{name} page", include_in_schema=False)
    router.add_api_route(
        f"/api{path}".rstrip("/"), data, name=name, response_model=kind, summary=(kind.__doc__ or "").split("\n")[0]
    )


for view in VIEWS:
    _serve(*view)


@router.get("/figures/{metric}/{day}/rows.csv", include_in_schema=False)
def rows_csv(metric: MetricName, day: Day, side: Side = Side.NUMERATOR) -> StreamingResponse:
    """The rows of a figure as they are published now; headers say how many there are, and how many it has of them."""
    with reading() as found:
        receipt.known(found, metric, day)
        facts = found.facts
    file = rows_of_figure.file_of(facts, metric, day, side)
    name = f"{re.sub(r'[^a-zA-Z0-9_-]', '_', metric)}-{day}{'' if side is Side.NUMERATOR else f'-{side}'}.csv"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Rows": str(file.rows),
        "X-Rows-There-Are": str(file.count),
    }
    return StreamingResponse(file.pieces(), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/docs", include_in_schema=False)
@router.get("/docs/", include_in_schema=False)
def docs() -> HTMLResponse:
    """dbt's own documentation, below our navigation."""
    return HTMLResponse(pages.render("docs.html", version=dbt_docs.VERSION))


@router.get("/docs/index.html", include_in_schema=False)
def docs_page() -> HTMLResponse:
    """dbt's page, which reads the two files beside it."""
    return HTMLResponse(dbt_docs.page(), headers={"Content-Security-Policy": dbt_docs.policy(), **KEEP})


@router.get("/docs/manifest.json", include_in_schema=False)
def docs_manifest() -> Response:
    """The dbt project as it is now."""
    return Response(dbt_docs.manifest(), media_type="application/json")


@router.get("/docs/catalog.json", include_in_schema=False)
def docs_catalog(request: Request) -> Response:
    """What is in the warehouse now."""
    return as_json(request, Question(dbt_docs.read))


@router.get("/openapi.json", include_in_schema=False)
def openapi() -> JSONResponse:
    """What the JSON of each view holds."""
    return JSONResponse(app.openapi())


@router.get(f"/static/{charts.VEGA}", include_in_schema=False)
def vega() -> Response:
    """What draws the charts; its address holds its version."""
    return Response(charts.vega(), media_type="text/javascript", headers=KEEP)


@router.get("/static/{name}", include_in_schema=False)
def static(request: Request, name: str) -> FileResponse:
    """A file of ours, to be kept where its address holds its hash."""
    file = pages.HERE / "static" / name
    if file.parent != pages.HERE / "static" or not file.is_file():
        raise HTTPException(404)
    return FileResponse(file, headers=KEEP if request.url.query else None)


@router.get("/{rest:path}", include_in_schema=False)
def nothing(rest: str) -> Response:
    """What is not there is said only to who may see what is."""
    raise HTTPException(404, f"There is no page {rest}.")


# FastAPI's own pages of the API load scripts from elsewhere, and its schema would stand outside the login.
app = FastAPI(title="Greenery data health", openapi_url=None, docs_url=None, redoc_url=None)
app.include_router(monitor.router)
app.include_router(answering.router)
app.include_router(router)
app.add_middleware(Headers)


@app.exception_handler(AnyHTTPException)
def refused(request: Request, error: AnyHTTPException) -> Response:
    """To the login where somebody has none; else a page, or JSON, that says what is wrong."""
    if error.status_code == 401 and request.method == "GET" and _wants_page(request):
        return to_login(request)
    return _say(request, error.status_code, str(error.detail))


@app.exception_handler(RequestValidationError)
def invalid(request: Request, error: RequestValidationError) -> Response:
    """What a view was asked with is not what it takes."""
    said = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
    return _say(request, 422, f"{said}.")


@app.exception_handler(LookupError)
def missing(request: Request, error: LookupError) -> Response:
    """A view was asked for what there is not; a key or an index that is missing is a fault of ours."""
    if isinstance(error, (KeyError, IndexError)):
        raise error
    return _say(request, 404, str(error.args[0]))


@app.exception_handler(PoolTimeoutError)
@app.exception_handler(psycopg2.Error)
def unreadable(request: Request, error: Unreadable) -> Response:
    """The warehouse does not answer, or not with what a view reads."""
    log.error("The data-health page could not read the warehouse: %s", error)
    return _say(request, 503, why_unreadable(error))


def _wants_page(request: Request) -> bool:
    inside = request.url.path.removeprefix(request.scope.get("root_path", ""))
    return not inside.startswith(("/api", "/static", "/health", "/metrics", "/badge")) and not inside.endswith(".json")


_TITLES = {403: "Not for you", 404: "Not found", 422: "Not a question", 503: "No answer"}
# What Airflow itself says where somebody may not see the page; what else is refused says its own reason.
_HELP = {"Forbidden": "Ask who runs this Airflow for the permission to see plugins."}


def _say(request: Request, status: int, detail: str) -> Response:
    if not _wants_page(request):
        return JSONResponse({"detail": detail}, status)
    title = _TITLES.get(status, "Something went wrong")
    return HTMLResponse(pages.render("error.html", title=title, detail=detail, help=_HELP.get(detail, "")), status)
