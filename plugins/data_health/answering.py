"""The form that takes an answer, and the page that ends one: who may, and what they send."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from urllib.parse import parse_qsl

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, HTTPException, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from include import settings
from include.answers import answers, known
from include.answers.answer import About, Kind
from include.answers.answers import AnswerError
from include.dbt_project import watched
from include.results import answered
from include.warehouse import connect
from plugins.data_health import pages
from plugins.data_health.access import (
    is_of_ours,
    is_token_of,
    may_answer,
    may_decide,
    may_see,
    token_for,
)
from plugins.data_health.reading import TIMEOUT_MS, reading
from plugins.data_health.views import answers as views

# A form is shorter by far: a reason, and what it is about.
LONGEST_FORM = 20_000
# What a mute takes where nobody says otherwise.
USUAL_MUTE = timedelta(days=7)
# What is kept of who sees to something and says no more.
SEEN = "I have seen it"

router = APIRouter(dependencies=[may_see], include_in_schema=False)


@dataclass(frozen=True)
class Form:
    """What stands in the form, as it was sent or linked to. Raises nothing: what is wrong is found when it is kept."""

    about: str = ""
    measure: str = ""
    column: str = ""
    item: str = ""
    day: str = ""
    kind: str = ""
    reason: str = ""
    until: str = ""
    token: str = ""

    @property
    def thing(self) -> About:
        """What it is about. Raises AnswerError where the day is none."""
        return About(self.about, self.measure, self.column, self.item, _day(self.day, "day"))


def _who_answers(user: GetUserDep) -> BaseUser:
    if not may_answer(user):
        raise HTTPException(403, "To answer takes the right to trigger greenery_daily or greenery_by_hand.")
    return user


Answering = Annotated[BaseUser, Depends(_who_answers)]


def _refuse_others(request: Request) -> None:
    if not is_of_ours(request):
        raise HTTPException(403, "This form was not sent by a page of this Airflow. Nothing was kept. Open it here.")


def _refuse_longer(length: int) -> None:
    if length > LONGEST_FORM:
        raise HTTPException(413, "That is longer than an answer can be. Nothing was kept.")


async def _sent(request: Request, _user: Answering) -> Form:
    """The form that a page of ours sent. Raises HTTPException."""
    _refuse_others(request)
    body = b""
    async for part in request.stream():
        body += part
        _refuse_longer(len(body))
    return _form(dict(parse_qsl(body.decode(errors="replace"))))


Sent = Annotated[Form, Depends(_sent)]
AnswerId = Annotated[int, Path(ge=1, lt=2**63)]


@router.get("/answer")
def ask(request: Request, user: Answering) -> HTMLResponse:
    """The form, filled in by the address."""
    today = datetime.now(UTC).date()
    return _show(user, replace(_form(dict(request.query_params)), token=""), until=str(today + USUAL_MUTE))


@router.post("/answer")
def give(user: Answering, form: Sent) -> Response:
    """Keep an answer, or show the form again with a sentence that says what is wrong."""
    try:
        _check_token(user, form)
        with reading() as found:
            about = form.thing
            if not known.is_known(found.facts, about.unique_id):
                raise AnswerError("The dbt project as it is now has nothing of this name. Nothing was kept.")
            held = watched.holding(found.facts)
        kind = _kind(form.kind)
        if kind == Kind.EXPECTED and held and not may_decide(user):  # it may explain what is held
            raise AnswerError(
                "Expected may end a hold, so it takes the right to trigger greenery_by_hand. Nothing was kept."
            )
        until = _day(form.until, "last day") if kind == Kind.MUTE else None
        reason = form.reason if form.reason.strip() or kind != Kind.MINE else SEEN
        with connect("greenery data health", settings.warehouse_health()) as connection, connection.cursor() as cursor:
            cursor.execute(f"set statement_timeout = {TIMEOUT_MS:d}")
            given = answers.give(connection, kind, about, user.get_name(), reason, until)
    except AnswerError as error:
        return _show(user, form, until=form.until, problem=str(error))
    return RedirectResponse(f"{pages.path('answers')}#answer-{given.answer_id}", 303)


@router.get("/answers/{answer_id}")
def one(user: GetUserDep, answer_id: AnswerId) -> HTMLResponse:
    """An answer, and the form that ends it."""
    return _show_one(user, answer_id)


@router.post("/answers/{answer_id}")
def end(user: Answering, form: Sent, answer_id: AnswerId) -> Response:
    """End an answer, or say why not."""
    try:
        _check_token(user, form)
        with connect("greenery data health", settings.warehouse_health()) as connection, connection.cursor() as cursor:
            cursor.execute(f"set statement_timeout = {TIMEOUT_MS:d}")
            answers.end(connection, answer_id, user.get_name(), form.reason)
    except AnswerError as error:
        return _show_one(user, answer_id, reason=form.reason, problem=str(error))
    return RedirectResponse(f"{pages.path('answers')}#answer-{answer_id}", 303)


def _form(given: dict[str, str]) -> Form:
    return Form(**{name: given.get(name, "") for name in Form.__dataclass_fields__})


def _check_token(user: BaseUser, form: Form) -> None:
    if not is_token_of(user, form.token):
        raise AnswerError("The form was open for too long, or was another login's. Nothing was kept. Send it again.")


def _kind(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError:
        raise AnswerError("Say whether it was expected, is to be muted, or is yours. Nothing was kept.") from None


def _day(text: str, what: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise AnswerError(f"The {what} is no day such as 2026-12-03. Nothing was kept.") from None


def _show(user: BaseUser, form: Form, *, until: str, problem: str = "") -> HTMLResponse:
    with reading() as found:
        about = About(form.about, form.measure, form.column, form.item)
        is_known = known.is_known(found.facts, form.about)
        body = pages.render(
            "answer.html",
            form=form,
            about=answered.title(about, found.facts) if is_known else "",
            in_force=views.about(found, form.about) if is_known else (),
            may_be_expected=bool(form.day) and not form.about.startswith(("test.", known.FRESHNESS)),
            until=until,
            today=found.at.date(),
            latest=found.at.date() + answers.LONGEST_MUTE,
            longest=answers.LONGEST_REASON,
            login=user.get_name(),
            token=token_for(user),
            problem=problem,
        )
    return HTMLResponse(body, 422 if problem else 200 if is_known else 404)


def _show_one(user: BaseUser, answer_id: int, *, reason: str = "", problem: str = "") -> HTMLResponse:
    with reading() as found:
        told = views.read_one(found, answer_id)
    body = pages.render(
        "one_answer.html",
        told=told,
        may_end=told.is_in_force and may_answer(user),
        reason=reason,
        longest=answers.LONGEST_REASON,
        login=user.get_name(),
        token=token_for(user),
        problem=problem,
    )
    return HTMLResponse(body, 422 if problem else 200)
