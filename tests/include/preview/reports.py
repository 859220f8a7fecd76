"""One preview of every kind, as data: what the golden files hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from include.preview.report import (
    Became,
    BrokenReader,
    ColumnChange,
    ColumnDiff,
    Cost,
    Example,
    Exposure,
    FailedModel,
    FigureDay,
    FigureMove,
    Kind,
    ModelChange,
    Plan,
    Report,
    RowsDiff,
    SlowModel,
    TestChange,
    Versus,
)
from include.slack.render import render_to_come
from include.slack.samples import HOSTILE, LONG, MOVED_BY_US, PUBLISHED
from include.words import Unit

_NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
_DAY = date(2026, 11, 23)
_PUBLISHED = Versus("main", "abc1234", datetime(2026, 11, 24, 6, 4, tzinfo=UTC))
_ORDER = "914b8929-e04a-40f8-86ee-357f2be3a2a2"
_SALES = Exposure("sales_dashboard", "Sales", "Analytics", ("fact_orders", "daily_metrics"))
_MESSAGE = Exposure(
    "slack_message", "Daily message in Slack", "Analytics", ("fact_orders", "daily_metrics", "dim_users")
)


def model(name: str, kind: Kind = Kind.CHANGED, *reasons: str, **more: object) -> ModelChange:
    owner = "Marketing" if "session" in name else "Analytics"
    return ModelChange(f"model.greenery.{name}", name, kind, reasons, owner=owner, **more)


ORDERS = model(
    "fact_orders",
    Kind.CHANGED,
    "SQL",
    materialized="incremental",
    is_rebuilt=True,
    key=("order_id",),
    cost=Cost(1.4, 2361, 1_204_224),
)
_BEHIND = tuple(model(name, Kind.DOWNSTREAM) for name in ("dim_users", "int_daily_figures", "daily_metrics"))
_EDGES = (
    ("fact_orders", "dim_users"),
    ("fact_orders", "int_daily_figures"),
    ("int_daily_figures", "daily_metrics"),
)
_PLAN = Plan((ORDERS, *_BEHIND), edges=_EDGES, exposures=(_SALES, _MESSAGE))


def rows(name: str = "fact_orders", **more: object) -> RowsDiff:
    told = {"key": ("order_id",), "before": 2361, "after": 2361, "added": 0, "gone": 0, "changed": 0}
    return RowsDiff(name, **{**told, **more})


def figure(name: str, unit: Unit, before: str, after: str, days: int = 14, **more: object) -> FigureMove:
    moved = tuple(
        FigureDay(_DAY - timedelta(days=number), Decimal(before) - number, Decimal(after) - 2 * number)
        for number in range(days)
    )
    return FigureMove(
        name, name.capitalize(), unit, **{"is_told": True, "compared": 14, "moved": days, "days": moved, **more}
    )


SAME = Report(replace(_PUBLISHED, published_at=None, is_same=True), _NOW, Plan(), seconds=6)
COMMENTS = Report(
    _PUBLISHED,
    _NOW,
    Plan((model("fact_orders", Kind.COMMENTS, "comments"),)),
    message=render_to_come(PUBLISHED),
    seconds=6.2,
)
NEW_MART = Report(
    _PUBLISHED,
    _NOW,
    Plan(
        (
            model("weekly_orders", Kind.NEW, key=("week",), cost=Cost(0.3, 52, 16_384)),
            model(
                "dim_days",
                Kind.CHANGED,
                "SQL",
                columns=(ColumnChange("is_holiday", None, "boolean"),),
                is_rebuilt=True,
                cost=Cost(0.2, 1825, 180_224),
            ),
        ),
        exposures=(Exposure("weekly", "Weekly", "Analytics", ("weekly_orders",)),),
        tests_new=("unique on weekly_orders.week", "not_null on weekly_orders.week"),
    ),
    rows=(
        rows("weekly_orders", key=("week",), before=0, after=52, added=52, added_columns=("week", "orders")),
        rows("dim_days", key=("day",), before=1825, after=1825, added_columns=("is_holiday",)),
    ),
    message=render_to_come(PUBLISHED),
    seconds=19.8,
)
RENAMED = Report(
    _PUBLISHED,
    _NOW,
    replace(
        _PLAN,
        models=(
            replace(
                ORDERS, columns=(ColumnChange("order_total", "numeric", None), ColumnChange("paid", None, "numeric"))
            ),
            *_BEHIND,
        ),
        tests_new=("not_null on fact_orders.paid",),
        tests_gone=("not_null on fact_orders.order_total",),
    ),
    rows=(rows(renamed=(("order_total", "paid"),)), rows("dim_users", before=124, after=124)),
    tests=(
        TestChange(
            "test.a",
            "test paid_is_what_the_items_cost",
            "fact_orders",
            Became.NOT_RUN,
            None,
            'column "order_total" does not exist',
            owner="Analytics",
        ),
    ),
    readers=(BrokenReader("sales.totals", "view", "ana", "fact_orders", "column order_total is gone"),),
    message=render_to_come(PUBLISHED),
    seconds=41,
)
FAN_OUT = Report(
    _PUBLISHED,
    _NOW,
    _PLAN,
    rows=(
        rows(
            before=2361,
            after=4722,
            repeated=2361,
            added=2361,
            changed=2361,
            columns=(ColumnDiff("revenue", 2361), ColumnDiff("units", 2361)),
            examples=(
                Example(_ORDER, {"revenue": "99.00", "units": "3"}, {"revenue": "198.00", "units": "6"}),
                Example(_ORDER[::-1], {"revenue": "12.50", "units": "1"}, {"revenue": "25.00", "units": "2"}),
            ),
        ),
        rows("dim_users", key=("user_id",), before=124, after=124, changed=99, columns=(ColumnDiff("spent", 99),)),
        rows("int_daily_figures", key=("day",), before=92, after=92, changed=92, columns=(ColumnDiff("revenue", 92),)),
    ),
    figures=(
        figure("revenue", Unit.DOLLARS, "4210.40", "8420.80"),
        figure("orders", Unit.NUMBER, "41", "82"),
        figure("conversion", Unit.PERCENT, "0.625", "1.25", days=1),
        figure("units", Unit.NUMBER, "120", "240", is_told=False),
    ),
    tests=(
        TestChange(
            "test.a",
            "unique on fact_orders.order_id",
            "fact_orders",
            Became.FAILS,
            2361,
            "2,361 values occur more than once; expected each value once",
            owner="Analytics",
        ),
        TestChange(
            "test.b",
            "test orders_are_the_same_everywhere",
            "int_daily_figures",
            Became.FAILS,
            92,
            "92 rows found; expected: Orders are the same whichever mart one asks.",
            owner="Analytics",
        ),
        TestChange(
            "unit_test.greenery.fact_orders.counts",
            "unit test counts_units_once",
            "fact_orders",
            Became.FAILS,
            reason="it makes other rows than it expects",
            differs="@@ ,order_id,units\n→  ,one     ,3→6",
        ),
        TestChange(
            "test.c",
            "not_negative on fact_orders.discount",
            "fact_orders",
            Became.STILL_WARNS,
            2,
            "2 negative values; expected none",
            owner="Analytics",
        ),
    ),
    slow=(SlowModel("fact_orders", 0.9, 8.4, (("raw.events", 3553),), "Seq Scan on events  (rows=3553)\n", 0),),
    message=render_to_come(replace(PUBLISHED, moves=MOVED_BY_US)),
    seconds=38,
)
FILTERED = Report(
    replace(
        _PUBLISHED,
        published_at=None,
        why="Raw has moved since the run that published (events), so main was built from the raw of now.",
    ),
    _NOW,
    replace(_PLAN, models=(replace(ORDERS, reasons=("SQL", "variable late_days")), *_BEHIND)),
    rows=(
        rows(
            before=2361,
            after=2304,
            gone=57,
            examples=(Example(_ORDER, {"status": "delivered", "promo": None, "revenue": "99.00"}, None),),
        ),
        rows("int_daily_figures", key=("day",), before=92, after=92, changed=31, columns=(ColumnDiff("orders", 31),)),
    ),
    figures=(
        figure("orders", Unit.NUMBER, "41", "39", days=9),
        figure("revenue", Unit.DOLLARS, "4210.40", "4113.20", days=9),
    ),
    tests=(TestChange("test.w", "not_empty on fact_orders", "fact_orders", Became.PASSES, 0, owner="Analytics"),),
    message=render_to_come(PUBLISHED),
    seconds=52,
)
FAILS = Report(
    _PUBLISHED,
    _NOW,
    _PLAN,
    failed=(
        FailedModel(
            "fact_orders",
            "order_total is missing in definition (contract NUMERIC)",
            ("dim_users", "int_daily_figures", "daily_metrics"),
            breaks_contract=True,
        ),
    ),
    tests=tuple(
        TestChange(f"test.{number}", f"test_{number}", "fact_orders", Became.NOT_RUN, None, "fact_orders was not built")
        for number in range(31)
    ),
    message="",
    notes=("Nothing is known of the models behind it.",),
    seconds=12,
)
_BAD = (
    *HOSTILE,
    "@ana #12 www.evil.example GH-1 </summary></details><script>x</script>",
    "a|b\\|c`d``e```\n```\nx",
    "",
)
HOSTILE_REPORT = Report(
    Versus(_BAD[0], _BAD[6], None, _BAD[7]),
    _NOW,
    Plan(
        tuple(
            model(
                f"{text}{'' if kind is Kind.CHANGED else kind}", kind, text, columns=(ColumnChange(text, text, text),)
            )
            for text in _BAD
            for kind in Kind
        ),
        edges=tuple((text, other) for text in _BAD for other in _BAD),
        exposures=tuple(Exposure(text, text, text, _BAD) for text in _BAD),
        tests_new=_BAD,
        tests_gone=_BAD,
    ),
    failed=tuple(FailedModel(f"{text}!", text, _BAD) for text in _BAD),
    rows=tuple(
        rows(
            text,
            key=(text,),
            changed=1,
            added=1,
            repeated=1,
            columns=(ColumnDiff(text, 1),),
            renamed=((text, text),),
            added_columns=_BAD,
            gone_columns=_BAD,
            retyped=(ColumnChange(text, text, text),),
            examples=(Example(text, {text: text}, {text: None}), Example(text, None, {text: text})),
        )
        for text in _BAD
    ),
    figures=tuple(replace(figure("x", Unit.NUMBER, "1", "2"), label=text) for text in _BAD),
    tests=tuple(TestChange(text, text, text, became, 1, text, owner=text) for text in _BAD for became in Became),
    readers=tuple(BrokenReader(text, text, text, text, text) for text in _BAD),
    slow=tuple(SlowModel(text, 1, 2, ((text, 1),), text, 1) for text in _BAD),
    message="\n".join(_BAD),
    notes=_BAD,
    seconds=1,
)
_MANY = tuple(f"model_{number:03}" for number in range(300))
LARGE = Report(
    _PUBLISHED,
    _NOW,
    Plan(
        tuple(
            model(name, Kind.DOWNSTREAM if number > 20 else Kind.CHANGED, "SQL") for number, name in enumerate(_MANY)
        ),
        edges=tuple(pairwise(_MANY)),
        exposures=(_SALES,),
    ),
    rows=tuple(
        rows(
            name,
            changed=9,
            columns=tuple(ColumnDiff(f"column_{at}", at) for at in range(40)),
            examples=tuple(
                Example(f"{_ORDER}{at}", {f"c{n}": LONG for n in range(9)}, {f"c{n}": "2" for n in range(9)})
                for at in range(30)
            ),
        )
        for name in _MANY
    ),
    figures=tuple(figure(name, Unit.DOLLARS, "4210.40", "8420.80") for name in _MANY),
    tests=tuple(TestChange(name, name, name, Became.WARNS, 1, LONG) for name in _MANY),
    message=f"{LONG}\n{LONG * 20}",
    notes=(LONG,) * 50,
    seconds=400,
)
# What is looked at to the letter, and what only has to keep within bounds.
REPORTS = {
    "same": SAME,
    "comments": COMMENTS,
    "new_mart": NEW_MART,
    "renamed": RENAMED,
    "fan_out": FAN_OUT,
    "filtered": FILTERED,
    "fails": FAILS,
}
ODD = {"hostile": HOSTILE_REPORT, "large": LARGE}
