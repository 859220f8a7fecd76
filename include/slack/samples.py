"""One run of every kind, as data: what `make slack-preview` shows, and what the golden files hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from include.answers.answer import About, Answer, Kind
from include.answers.answers import End
from include.dbt_project.metrics import Metric
from include.receipts.explanation import Explanation, Meanwhile, Share, Split
from include.receipts.move import Cause, Move, Part, Period, Side, What
from include.results.answered import Outlived, Told
from include.results.failures import Failure, Owner, Root
from include.results.figures import Figure, Figures
from include.results.nodes import UNEXPLAINED
from include.results.orders import OrderChange
from include.results.publications import Decision, Publication
from include.results.summary import Resolved, Summary
from include.results.unusual import Finding
from include.slack.message import Message
from include.slack.notices import at_risk, decided, unreachable, unreported
from include.slack.render import render, render_state
from include.unusual.series import Expected, Measure, Series, Unusual
from include.words import Unit

_AIRFLOW = "http://localhost:8080/dags/greenery_daily/runs"
_TODAY, _YESTERDAY = datetime(2026, 11, 24, 6, 4, tzinfo=UTC), datetime(2026, 11, 23, 6, 4, tzinfo=UTC)
_RUN = "scheduled__2026-11-24T06:00:00+00:00"
_RUN_URL = f"{_AIRFLOW}/scheduled__2026-11-24T06%3A00%3A00%2B00%3A00"
_PLATFORM, _CORE = Owner("Data platform", "S0PLATFORM"), Owner("Analytics", "@analytics")
_PRODUCT, _MARKETING = Owner("Product", "U0PRODUCT1"), Owner("Marketing")
_DASHBOARDS = ("Sales", "Products", "Website")
_MODELS = (
    *(f"stg_greenery__{name}" for name in ("orders", "order_items", "events")),
    *("int_orders", "int_order_items", "fact_orders", "fact_order_items", "int_user_sessions", "dim_users"),
    *("int_user_product_sessions", "fact_product", "fact_product_sessions_daily", "product_funnel_daily"),
    *("int_daily_figures", "daily_metrics", "order_status_changes", "repeat_purchase_indicators"),
    *("int_product_kinds", "int_product_session_days", "product_stock_outs", "dim_days"),
)


_DAY, _DAY_BEFORE = date(2026, 11, 23), date(2026, 11, 22)


def _repeat_rate(repeat_buyers: int, buyers: int, former: float | None = None, day: date = _DAY) -> Figure:
    return Figure("repeat_rate", "Repeat rate", Unit.PERCENT, repeat_buyers / buyers, former, day)


PUBLISHED = Summary(
    run_id=_RUN,
    run_url=_RUN_URL,
    published=True,
    overtaken=False,
    data_as_of=_TODAY,
    decision=None,
    hold=None,
    started_at=datetime(2026, 11, 24, 6, 0, tzinfo=UTC),
    took=timedelta(minutes=4, seconds=10),
    passed=274,
    warned=0,
    failed=0,
    skipped=0,
    roots=(),
    warnings=(),
    not_built=(),
    fixed=(),
    resolved=None,
    figures=Figures(
        repeat_rate=_repeat_rate(99, 124, 0.795),
        buyers=124,
        repeat_buyers=99,
        day=_DAY,
        # One of each unit, whichever the project tells: a new figure changes no golden file.
        daily=(
            Figure("orders", "Orders", Unit.NUMBER, 41, 38, _DAY),
            Figure("revenue", "Revenue", Unit.DOLLARS, 4210.4, 4521.9, _DAY),
            Figure("conversion", "Conversion", Unit.PERCENT, 0.625, 0.625, _DAY),
        ),
        former_as_of=_YESTERDAY,
        told_on=_TODAY,
    ),
    order_changes=(
        OrderChange(
            "preparing",
            "shipped",
            7,
            (
                "05202733-0e17-4726-97c2-0520c024ab85",
                "914b8929-e04a-40f8-86ee-357f2be3a2a2",
                "939767ac-357a-4bec-91f8-a7b25edd46c9",
                "a3e7ee11-0c4e-4b9f-9d05-1c1f6a1dbf0e",
                "b21f6cc0-6df1-4a6e-8f37-6a6d21a25b0f",
            ),
        ),
        OrderChange("shipped", "delivered", 1, ("c98f1f3a-2cc2-4e1f-8df8-3ac53f0f8c57",)),
    ),
    metrics={
        one.name: one
        for one in (
            Metric("orders", "Orders", Unit.NUMBER),
            Metric("revenue", "Revenue", Unit.DOLLARS),
            Metric("conversion", "Conversion", Unit.PERCENT),
            Metric("paid", "Paid", Unit.DOLLARS),
            Metric("sessions", "Sessions", Unit.NUMBER),
            Metric("units", "Units", Unit.NUMBER),
        )
    },
    nouns={"fact_orders": "order", "int_user_sessions": "session"},
    health_url="http://localhost:8080/data-health/runs/scheduled__2026-11-24T06%3A00%3A00%2B00%3A00",
)
# What people see is the former publish: its figures, without a change.
FAILED = replace(
    PUBLISHED,
    published=False,
    data_as_of=_YESTERDAY,
    figures=replace(
        PUBLISHED.figures,
        repeat_rate=_repeat_rate(98, 123, day=_DAY_BEFORE),
        buyers=123,
        repeat_buyers=98,
        day=_DAY_BEFORE,
        daily=tuple(replace(one, value=one.former, former=None, day=_DAY_BEFORE) for one in PUBLISHED.figures.daily),
        told_on=_YESTERDAY,
    ),
    order_changes=(),
)


def _log(task: str) -> str:
    return f"{_RUN_URL}/tasks/{task}"


DOUBLED_ORDER = Failure(
    kind="test",
    name="source_unique_greenery_orders_order_id",
    measured="1 value occurs more than once",
    expected="each value once",
    column="order_id",
    rows=({"unique_field": "914b8929-e04a-40f8-86ee-357f2be3a2a2", "n_records": "2"},),
    unique_id="test.greenery.source_unique_greenery_orders_order_id.5a4b1c2d3e",
)
UNKNOWN_STATUS = Failure(
    kind="test",
    name="source_accepted_values_greenery_orders_status__preparing__shipped__delivered",
    measured="2 other values",
    expected="one of preparing, shipped, delivered",
    column="status",
    rows=({"value_field": "lost", "n_records": "3"}, {"value_field": None, "n_records": "1"}),
)
BROKEN_SOURCE = Root(
    kind="source",
    name="raw.orders",
    failures=(DOUBLED_ORDER, UNKNOWN_STATUS),
    owner=_PLATFORM,
    not_built=_MODELS,
    exposures=("Daily message in Slack", "Data-health page", *_DASHBOARDS),
    log_url=_log("check_sources"),
    unique_id="source.greenery.greenery.orders",
)
BROKEN_TOTAL = Root(
    kind="model",
    name="int_orders",
    failures=(
        Failure(
            kind="test",
            name="int_orders_total_is_cost_plus_shipping_less_discount",
            measured="6 rows where it does not hold",
            expected="order_total = order_cost + shipping_cost - discount",
            rows=tuple({"order_id": f"{number}05202733-0e17-4726"} for number in range(1, 6)),
        ),
    ),
    owner=_CORE,
    not_built=("fact_orders", "fact_order_items", "dim_users", "int_daily_figures", "daily_metrics"),
    also_failed=("unique on fact_orders.order_id",),
    exposures=("Sales",),
    log_url=_log("transform.models.marts.core.int_orders_model_build"),
)
BROKEN_MODEL = Root(
    kind="model",
    name="fact_product",
    failures=(
        Failure(
            kind="model",
            name="fact_product",
            measured='column "inventry" does not exist LINE 14: inventry, HINT: Perhaps you meant "inventory".',
        ),
    ),
    owner=_PRODUCT,
    exposures=("Products",),
    log_url=_log("transform.models.marts.product.fact_product_model_build"),
)
STALE_EVENTS = Root(
    kind="source",
    name="raw.events",
    failures=(
        Failure(
            kind="freshness",
            name="of greenery.greenery.events",
            measured="last loaded at 2026-11-22T05:58:11Z, 48.0 hours ago",
            expected="at most 26 hours ago",
        ),
    ),
    owner=_PLATFORM,
    exposures=_DASHBOARDS,
    log_url=_log("check_sources"),
)
KNOWN = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)


def _refused(why: str) -> Root:
    """The task `publish`, which did not publish."""
    return Root("task", "publish", (Failure("task", "publish", why),), log_url=_log("publish"))


def _known(root: Root) -> Root:
    return replace(root, failures=tuple(replace(one, since=KNOWN, days=2) for one in root.failures))


def _answer(kind: Kind, about: About, reason: str, *, until: date | None = None, **others: Any) -> Answer:
    return Answer(7, _TODAY, "ada", kind, about, reason, until, **others)


def _with(root: Root, **answers: Answer) -> Root:
    """A place with one failure, answered."""
    return replace(root, failures=(replace(root.failures[0], **answers),))


_UNTIL = date(2026, 12, 3)
_ORDER_ID = About(DOUBLED_ORDER.unique_id)
_MUTED = _answer(Kind.MUTE, _ORDER_ID, "the shop mends it on Thursday", until=_UNTIL)
_MINE = _answer(Kind.MINE, _ORDER_ID, "asked the shop")
_EXPECTED = Expected(0, 0, 0, 90)


def _unusual(unique_id: str, measure: Measure, *, since: date = _DAY, holds: bool = False, **of: str) -> Unusual:
    return Unusual(Series(unique_id, measure, **of), _DAY, 0, _EXPECTED, 1, since, holds=holds)


FEW_ORDERS = Finding(
    _unusual("source.greenery.greenery.orders", Measure.ROWS),
    "rows of raw.orders",
    "12",
    "31 to 48",
    by_weekday=True,
    owner=_PLATFORM,
    exposures=_DASHBOARDS,
    with_it=(
        Finding(
            _unusual("metric.greenery.orders", Measure.VALUE),
            "Orders",
            "12",
            "31 to 48",
            of_marts=True,
            by_weekday=True,
            owner=_CORE,
            exposures=("Sales", "Website"),
        ),
        Finding(
            _unusual("metric.greenery.revenue", Measure.VALUE),
            "Revenue",
            "$1,207",
            "$3,180 to $4,916",
            of_marts=True,
            by_weekday=True,
            owner=_CORE,
            exposures=("Sales",),
        ),
        Finding(_unusual("source.greenery.greenery.order_items", Measure.ROWS), "rows of raw.order_items", "30", "90"),
        Finding(_unusual("source.greenery.greenery.orders", Measure.HOURS), "hours with rows of raw.orders", "9", "21"),
    ),
)
NO_PRODUCT = Finding(
    _unusual("source.greenery.greenery.events", Measure.NULLS, column="product_id"),
    "events without product_id",
    "41.0 %",
    "18.0 to 23.0 %",
    owner=_PLATFORM,
    exposures=("Products",),
)
CONVERSION = Finding(
    _unusual("metric.greenery.conversion", Measure.VALUE, since=date(2026, 11, 21)),
    "Conversion",
    "62.5 %",
    "71.0 to 78.1 %",
    of_marts=True,
    by_weekday=True,
    owner=_CORE,
    exposures=("Website",),
)
SLOW_MODEL = Finding(
    _unusual("model.greenery.fact_product", Measure.SECONDS),
    "time to build fact_product",
    "4 min",
    "20 s to 31 s",
    of_day=False,
    owner=_PRODUCT,
    exposures=("Products",),
)
_LATE = ("05202733-0e17-4726-97c2-0520c024ab85", "914b8929-e04a-40f8-86ee-357f2be3a2a2", "939767ac-…", "a3e7ee11-…")


def late(amount: str, rows: int = 4, **others: Any) -> Part:
    """Orders that came late, and what they add."""
    given = {"side": Side.NUMERATOR, "what": What.LATE, "model": "fact_orders", "keys": _LATE[:rows]}
    return Part(rows=rows, amount=Decimal(amount), **given | others)


def move(metric: str, starts: date, told: str | None, value: str | None, *parts: Part, **others: Any) -> Move:
    """A day that moved by these rows, unless told otherwise; without rows it is not known by which."""
    figures = (None if one is None else Decimal(one) for one in (told, value))
    given = {"period": Period.DAY, "adds_up": bool(parts)}
    return Move(
        metric, starts=starts, **dict(zip(("told", "value"), figures, strict=True)), parts=parts, **given | others
    )


def _corrected(amount: str) -> Part:
    return replace(late(amount, 1), what=What.CORRECTED, keys=("b21f6cc0-…",), changed=("items_amount",))


_OCTOBER, _A_DAY_OF_IT, _TWELFTH = date(2026, 10, 1), date(2026, 10, 14), date(2026, 11, 12)
_IN_SESSIONS = {"model": "int_user_sessions", "keys": ()}
# Four orders of a day of October came late and one was corrected, a day of November was corrected, and sessions of it
# came late. What moved of the last two days is usual.
MOVED = (
    move("revenue", _OCTOBER, "41207.40", "41517.40", late("290"), _corrected("20"), period=Period.MONTH),
    move("orders", _OCTOBER, "402", "406", late("4"), period=Period.MONTH),
    *(
        move(name, day, "20", "21", late("1", 1), usual=True)
        for day in (_DAY, _DAY_BEFORE)
        for name in ("orders", "units")
    ),
    move("revenue", date(2026, 11, 14), "1980.10", "1983.30", _corrected("3.20")),
    move(
        "conversion",
        _TWELFTH,
        "0.6240",
        "0.6270",
        late("2", 2, **_IN_SESSIONS),
        late("3", 3, side=Side.DENOMINATOR, **_IN_SESSIONS),
    ),
    move("sessions", _TWELFTH, "125", "128", late("3", 3, **_IN_SESSIONS)),
    move("revenue", _A_DAY_OF_IT, "1207.40", "1517.40", late("290"), _corrected("20")),
    move("orders", _A_DAY_OF_IT, "12", "16", late("4")),
)
_CHANGED = (Cause("model", "model fact_orders changed"),)
MOVED_BY_US = (
    *(
        move(name, date(year, 1, 1), "41207", "41517", period=Period.YEAR, causes=_CHANGED)
        for year in (2025, 2024)
        for name in ("revenue", "paid")
    ),
    move("revenue", _A_DAY_OF_IT, "1207.40", "1517.40", _corrected("310"), causes=_CHANGED),
    move("conversion", _TWELFTH, "0.624", None),
    move("sessions", _TWELFTH, None, "125"),
)
WHY_REVENUE = Explanation(
    "revenue",
    _DAY,
    _DAY_BEFORE,
    Decimal("3979.10"),
    Decimal("4521.70"),
    splits=(
        Split(
            "product",
            "product",
            (
                Share("p1", "Monstera", Decimal("610.00"), Decimal("200.00"), Decimal("-410.00")),
                Share("p2", "Pothos", Decimal("300.00"), Decimal("160.40"), Decimal("-139.60")),
                Share("p3", "Fiddle leaf fig", Decimal("410.00"), Decimal("470.00"), Decimal("60.00")),
                Share("", "the rest", Decimal("3201.70"), Decimal("3148.70"), Decimal("-53.00")),
            ),
        ),
        Split(
            "factors",
            "factors",
            (
                Share("sessions", "Sessions", Decimal(64), Decimal(66), Decimal("139.17")),
                Share("orders", "Orders a session", Decimal("0.594"), Decimal("0.621"), Decimal("183.33")),
                Share("revenue", "Order value", Decimal("119"), Decimal("97"), Decimal("-865.10")),
            ),
        ),
        Split(
            "state",
            "state",
            (
                Share("CA", "California", Decimal("2261.00"), Decimal("1989.00"), Decimal("-272.00")),
                Share("TX", "Texas", Decimal("2260.70"), Decimal("1990.10"), Decimal("-270.60")),
            ),
        ),
    ),
    meanwhile=(
        Meanwhile("stock-out", "sold out at 10:40", "product", "p1"),
        Meanwhile("load", "raw.orders was last loaded at 18:20, before the day was over"),
    ),
)
LONG = "0123456789" * 1000
HOSTILE = (
    "<!channel> <@U123456789> <http://evil.example|click> & *bold* `code` _it_ :tada: http://evil.example",
    "two\nlines\r\u2028three\ttabs",
    "\u202egnirts\u202c \u200bzero\u200dwidth\ufeff \u2066isolate",
    "שלום <!here> مرحبا",
    "🌱🪴👩‍🌾",
    LONG,
)


def summaries() -> dict[str, Summary]:
    """Every kind of run by the name of its sample."""
    three_hundred = tuple(
        Root(
            kind="model",
            name=f"model_{number:03}",
            failures=(
                replace(DOUBLED_ORDER, name=f"unique_model_{number:03}_key", column="key", rows=DOUBLED_ORDER.rows * 5),
            ),
            owner=_MARKETING,
            not_built=_MODELS,
            exposures=_DASHBOARDS,
            log_url=_log(f"transform.models.marts.model_{number:03}_model_build"),
        )
        for number in range(300)
    )
    hostile = tuple(
        Root(
            kind="model",
            name=text,
            failures=(
                Failure("test", text, text, expected=text, column=text, rows=({"name": text, text: None},) * 5),
                Failure("model", text, text),
            ),
            owner=Owner(text, text),
            not_built=(text,) * 30,
            also_failed=(text,) * 30,
            exposures=(text,) * 30,
            log_url=_log("snapshot"),
        )
        for text in HOSTILE
    )
    orders, revenue, conversion = PUBLISHED.figures.daily
    few = (replace(orders, value=12), replace(revenue, value=1207), conversion)
    few_orders = replace(PUBLISHED, figures=replace(PUBLISHED.figures, daily=few), order_changes=())
    loud = _answer(Kind.MUTE, About("test.t"), LONG, until=_UNTIL, name_given=HOSTILE[0])
    hostile_answers = {
        "muted": tuple(Finding(_unusual(text, Measure.MEAN), text, text, text, True, muted=loud) for text in HOSTILE),
        "news": tuple(
            Told(text, replace(loud, kind=kind, answer_id=8, reason=text, answered_by=text), end)
            for text in HOSTILE
            for kind in Kind
            for end in (None, End(_TODAY, text, text))
        ),
        "outlived": tuple(Outlived(text, replace(loud, answered_by=text), _DAY) for text in HOSTILE),
    }
    parts = tuple(
        replace(late("1"), what=what, model=LONG, keys=(text,) * 5, changed=(text,) * 5)
        for what in What
        for text in HOSTILE
    )
    restated = {
        "moves": tuple(
            move(text, day, "1", "2", *given, causes=(Cause("model", text),) * 5)
            for day, given in ((_DAY, parts[:6]), (_DAY_BEFORE, parts), (_TWELFTH, ()))
            for text in HOSTILE
        ),
        "explanations": tuple(
            Explanation(
                text,
                _DAY,
                _DAY_BEFORE,
                Decimal(2),
                Decimal(1),
                (Split(text, text, (Share(text, text, Decimal(0), Decimal(1), Decimal(1)),)),),
                (Meanwhile(text, text), Meanwhile(text, text, text, text)),
            )
            for text in HOSTILE
        ),
        "metrics": {text: Metric(text, text, Unit.NUMBER) for text in HOSTILE},
        "nouns": dict.fromkeys(HOSTILE, HOSTILE[0]),
    }
    odd = tuple(
        Finding(
            _unusual(text, Measure.SHARE, column=text, item=text),
            text,
            text,
            text,
            of_marts=True,
            owner=Owner(text, text),
            exposures=(text,) * 30,
            with_it=(Finding(_unusual(text, Measure.MEAN), text, text, text, of_marts=True),) * 30,
        )
        for text in HOSTILE
    )
    task = Root(
        kind="task",
        name="snapshot",
        failures=(Failure("task", "snapshot", UNEXPLAINED),),
        log_url=_log("snapshot"),
    )
    return {
        "published": PUBLISHED,
        "published_first_day": replace(
            PUBLISHED,
            order_changes=(),
            figures=replace(
                PUBLISHED.figures,
                repeat_rate=_repeat_rate(99, 124),
                daily=tuple(replace(one, former=None) for one in PUBLISHED.figures.daily),
                former_as_of=None,
            ),
        ),
        "published_no_new_orders": replace(
            PUBLISHED, order_changes=(), figures=replace(PUBLISHED.figures, day=date(2026, 11, 18), days_before=6)
        ),
        "published_with_warnings": replace(
            PUBLISHED, passed=272, warned=2, warnings=(STALE_EVENTS, _known(replace(BROKEN_TOTAL, not_built=())))
        ),
        "published_unusual": replace(few_orders, unusual=(FEW_ORDERS, NO_PRODUCT)),
        "published_much_unusual": replace(
            few_orders,
            passed=273,
            warned=1,
            warnings=(STALE_EVENTS,),
            unusual=(CONVERSION, FEW_ORDERS, NO_PRODUCT, SLOW_MODEL, *(replace(NO_PRODUCT, with_it=()),) * 30),
        ),
        "published_known_unusual": replace(PUBLISHED, order_changes=(), unusual=(CONVERSION,)),
        "published_hostile": replace(PUBLISHED, unusual=odd, **hostile_answers),
        "published_moved_hostile": replace(PUBLISHED, **restated),
        "published_moved": replace(PUBLISHED, moves=MOVED),
        "published_moved_by_us": replace(PUBLISHED, moves=MOVED_BY_US),
        "published_moved_as_usual": replace(PUBLISHED, moves=tuple(one for one in MOVED if one.usual)),
        "published_explained": replace(
            PUBLISHED,
            moves=MOVED,
            order_changes=(),
            figures=replace(PUBLISHED.figures, daily=(orders, replace(revenue, value=3979.1), conversion)),
            explanations=(WHY_REVENUE,),
        ),
        "published_muted": replace(
            few_orders,
            passed=273,
            warned=1,
            warnings=(_with(STALE_EVENTS, muted=replace(_MUTED, reason="the replica is moved")),),
            unusual=(replace(FEW_ORDERS, mine=_MINE),),
            muted=(replace(CONVERSION, muted=replace(_MUTED, reason="the shop tries out another checkout")),),
            outlived=(
                Outlived("unique on raw.orders.order_id", _MUTED, date(2026, 11, 20)),
                Outlived("fact_orders", replace(_MUTED, until=date(2026, 11, 22)), None),
            ),
        ),
        "published_let_through": replace(
            PUBLISHED,
            passed=273,
            failed=1,
            roots=(_with(replace(BROKEN_TOTAL, not_built=(), also_failed=()), muted=replace(_MUTED, waives=True)),),
        ),
        "published_answered": replace(
            PUBLISHED,
            news=(
                Told("raw.orders, rows", _answer(Kind.EXPECTED, About(""), "a sale", name_given="Ada")),
                Told("fact_orders", _MINE),
                Told("dim_users", _MUTED),
                Told("raw.events", _MUTED, End(_TODAY, "grace", "mended")),
            ),
        ),
        "published_by_hand": replace(
            PUBLISHED,
            passed=273,
            failed=1,
            roots=(replace(BROKEN_TOTAL, not_built=(), also_failed=()),),
            decision=_decision("publish"),
        ),
        "published_again": replace(
            PUBLISHED,
            resolved=Resolved(
                timedelta(days=2, minutes=4), ("unique on raw.orders.order_id", "accepted_values on raw.orders.status")
            ),
            fixed=("unique on raw.orders.order_id", "accepted_values on raw.orders.status"),
        ),
        "failed_source": replace(
            FAILED,
            passed=55,
            failed=2,
            skipped=217,
            roots=(BROKEN_SOURCE,),
            not_built=("stg_greenery__promos", "stg_greenery__products"),
        ),
        "failed_tests": replace(
            FAILED,
            passed=190,
            failed=3,
            skipped=81,
            roots=(BROKEN_TOTAL, BROKEN_MODEL, STALE_EVENTS),
            fixed=("unique on raw.orders.order_id",),
            order_changes=PUBLISHED.order_changes,
        ),
        "failed_muted": replace(
            FAILED,
            passed=273,
            failed=1,
            roots=(_with(_known(BROKEN_SOURCE), muted=_MUTED),),
            news=(Told("it", _MUTED),),
        ),
        "failed_partly_muted": replace(
            FAILED,
            passed=272,
            failed=2,
            roots=(
                replace(
                    BROKEN_SOURCE,
                    failures=(replace(DOUBLED_ORDER, muted=_MUTED), replace(UNKNOWN_STATUS, mine=_MINE)),
                ),
            ),
        ),
        "failed_unusual": replace(FAILED, passed=270, failed=1, roots=(BROKEN_TOTAL,), unusual=(FEW_ORDERS,)),
        "failed_held_unusual": replace(
            FAILED,
            unusual=(replace(NO_PRODUCT, unusual=replace(NO_PRODUCT.unusual, holds=True)),),
            roots=(
                _refused(
                    "Held: 1 figure is unusual (`unusual: hold`). Answer `expected` and clear publish; or "
                    f"publish it all the same: `python -m include.publish publish --run {_RUN} --reason …`. "
                    "Nothing was published:\n  events without product_id"
                ),
            ),
        ),
        "failed_known": replace(
            FAILED,
            data_as_of=datetime(2026, 11, 21, 6, 4, tzinfo=UTC),
            passed=150,
            failed=4,
            skipped=120,
            roots=(_known(BROKEN_SOURCE), _known(BROKEN_TOTAL), BROKEN_MODEL),
        ),
        "failed_300": replace(FAILED, passed=10, failed=300, roots=three_hundred),
        "failed_task": replace(FAILED, passed=270, skipped=4, roots=(task,), order_changes=None),
        "failed_before_anything": replace(
            FAILED,
            data_as_of=None,
            started_at=None,
            took=None,
            passed=0,
            skipped=274,
            figures=Figures(),
            order_changes=None,
            not_built=_MODELS,
        ),
        "failed_held": replace(
            FAILED,
            passed=274,
            hold=_decision("hold"),
            roots=(_refused("ada holds publishing back since 24 Nov 2026 05:30 UTC: the auditors are here"),),
        ),
        "failed_hostile": replace(
            FAILED,
            run_id=f"manual__{LONG}",
            failed=6,
            roots=hostile,
            warnings=hostile,
            not_built=HOSTILE,
            fixed=HOSTILE,
            notes=HOSTILE,
            unusual=odd,
            **hostile_answers,
            project_problem=LONG,
            hold=replace(_decision("hold"), decided_by=HOSTILE[0], name_given=HOSTILE[0], reason=LONG),
            order_changes=tuple(OrderChange(text, text, 10_000, (text,) * 5) for text in HOSTILE * 3),
        ),
        "overtaken": replace(PUBLISHED, published=False, overtaken=True),
    }


def messages() -> dict[str, Message]:
    """Every kind of message by the name of its sample: in full, as stakeholders get it (`state_…`), and others."""
    live = Publication(1, _RUN, _TODAY, _TODAY, 1, (), None)
    actions = ("publish", "roll back", "hold", "release", "accept history")
    return {
        **{name: render(summary) for name, summary in summaries().items()},
        **{f"state_{name}": render_state(summary) for name, summary in summaries().items()},
        **{f"decided_{action.replace(' ', '_')}": decided(_decision(action), live) for action in actions},
        "decided_at_a_shell": decided(
            replace(_decision("hold"), decided_by="greenery_transformer (root on airflow-1)", name_given="Ada"), live
        ),
        "decided_publish_moved": decided(_decision("publish"), live, replace(PUBLISHED, moves=MOVED)),
        "decided_before_anything": decided(_decision("hold"), None),
        "at_risk": at_risk(
            datetime(2026, 11, 24, 7, 0, tzinfo=UTC),
            "raw.orders usually comes by 05:40 UTC and is not there",
            data_as_of=_YESTERDAY,
            url="http://localhost:8080",
            health_url="http://localhost:8080/data-health/unusual",
        ),
        "unreported": unreported(_RUN, _RUN_URL, "UndefinedFunction: operator does not exist: text >= integer"),
        "unreachable": unreachable(_RUN, _RUN_URL, 'connection to server at "127.0.0.1", port 5432 failed: refused'),
    }


def _decision(action: str) -> Decision:
    return Decision(
        7, action, _RUN, "ada", "revenue of the 23rd is checked by hand", datetime(2026, 11, 24, 5, 30, tzinfo=UTC)
    )
