"""What each kind of message says, in which order, and what it leaves to be counted."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from include.answers.answer import About, Answer, Kind
from include.results.answered import Told
from include.results.failures import Failure, Root
from include.results.figures import Figure
from include.results.orders import OrderChange
from include.results.publications import Decision
from include.results.summary import Resolved
from include.slack.message import Message
from include.slack.notices import unreachable
from include.slack.render import render, render_state
from include.slack.samples import (
    BROKEN_SOURCE,
    BROKEN_TOTAL,
    CONVERSION,
    FAILED,
    FEW_ORDERS,
    KNOWN,
    NO_PRODUCT,
    PUBLISHED,
    SLOW_MODEL,
    STALE_EVENTS,
)
from include.words import Unit
from tests.slack_server import _problem


def everything(message: Message) -> str:
    """All text of the blocks, as it is sent."""
    texts = [block["text"]["text"] for block in message.blocks if "text" in block]
    return "\n".join(texts + [element["text"] for block in message.blocks for element in block.get("elements", [])])


def known(root: Root) -> Root:
    return replace(root, failures=tuple(replace(one, since=KNOWN, days=2) for one in root.failures))


def places(count: int, root: Root = BROKEN_TOTAL) -> tuple[Root, ...]:
    return tuple(
        replace(root, name=f"model_{n}", failures=tuple(replace(one, name=f"test_{n}") for one in root.failures))
        for n in range(count)
    )


def test_what_was_let_through_is_told_although_the_answer_has_ended_since() -> None:
    state = everything(render_state(replace(PUBLISHED, failed=1, roots=(BROKEN_TOTAL,))))
    assert "1 failed test let through." in state
    assert "All tests that guard the data passed" not in state


def test_a_test_that_is_let_through_is_news_before_it_fails() -> None:
    mute = Answer(1, KNOWN, "ada", Kind.MUTE, About("test.t"), "the shop mends it", KNOWN.date(), waives=True)
    assert "t: let through until" in everything(render(replace(PUBLISHED, news=(Told("t", mute),))))


def test_the_first_line_says_what_broke_first() -> None:
    assert render(replace(FAILED, roots=(BROKEN_SOURCE,))).headline == (
        "🔴 Greenery data was not published: 2 tests failed on raw.orders"
    )
    assert render(replace(FAILED, roots=(known(BROKEN_TOTAL), BROKEN_SOURCE))).headline.endswith(
        "2 tests failed on raw.orders, and 1 more"
    ), "what is new comes first"
    assert render(replace(FAILED, roots=(known(BROKEN_SOURCE),))).headline.endswith("raw.orders, known since 22 Nov")


def test_a_table_that_was_not_loaded_is_called_stale() -> None:
    assert render(replace(FAILED, failed=1, roots=(STALE_EVENTS,))).headline.endswith(": raw.events is stale")


def test_a_failure_says_where_what_which_rows_since_when_whose_and_what_stands_on_it() -> None:
    body = render(replace(FAILED, roots=(BROKEN_SOURCE,))).body
    assert "Stakeholders still see the data as of 23 Nov 2026 06:04 UTC." in body
    assert "raw table raw.orders · Data platform\n" in body
    assert "• order_id: 1 value occurs more than once; expected each value once (new)\n" in body
    assert "    unique_field = 914b8929-e04a-40f8-86ee-357f2be3a2a2, n_records = 2\n" in body
    assert (
        "11 models and 10 helpers behind it were not built: fact_orders, fact_order_items, dim_users and 8 more\n"
        in body
    )
    assert "Downstream: Daily message in Slack, Data-health page, Sales, Products and Website\n" in body
    answer = f"http://localhost:8080/data-health/answer?about={BROKEN_SOURCE.unique_id}"
    assert f"Log of the task: {BROKEN_SOURCE.log_url} · Answer: {answer}\n" in body


def test_the_owner_of_something_new_is_mentioned_and_of_something_known_named() -> None:
    assert "<!subteam^S0PLATFORM>" in everything(render(replace(FAILED, roots=(BROKEN_SOURCE,))))
    again = everything(render(replace(FAILED, roots=(known(BROKEN_SOURCE),))))
    assert "<!subteam" not in again
    assert "Data platform" in again


def test_helpers_are_counted_and_not_named_unless_they_failed() -> None:
    root = replace(BROKEN_TOTAL, name="int_orders", not_built=("int_daily_figures",))
    body = render(replace(FAILED, roots=(root,), not_built=("stg_greenery__promos", "dim_days"))).body
    assert "Failed: model int_orders · " in body
    assert "\n1 helper behind it was not built\n" in body
    assert "\n1 other model and 1 helper were not built: dim_days\n" in body
    assert "int_daily_figures" not in body
    assert "stg_greenery__promos" not in body


def test_what_is_known_is_a_line_with_its_age_and_without_rows() -> None:
    body = render(replace(FAILED, roots=(known(BROKEN_TOTAL),))).body
    [line] = [line for line in body.splitlines() if "int_orders: " in line]
    assert line.startswith("• int_orders: 6 rows where it does not hold; expected order_total = ")
    assert line.endswith("(known since 22 Nov, 2 days) · Analytics · 4 models and 1 helper behind it not built")
    assert "order_id = " not in body


def test_what_is_new_at_a_place_that_is_known_is_told_in_full() -> None:
    first, second = BROKEN_SOURCE.failures
    root = replace(BROKEN_SOURCE, failures=(replace(first, since=KNOWN, days=2), second))
    body = render(replace(FAILED, roots=(root,))).body
    assert "value_field = null, n_records = 1\n• order_id: 1 value occurs" in body
    assert "each value once (known since 22 Nov, 2 days)\n11 models" in body


def test_what_failed_before_on_the_same_day_is_known_since_a_time() -> None:
    root = replace(BROKEN_TOTAL, failures=tuple(replace(one, since=FAILED.started_at) for one in BROKEN_TOTAL.failures))
    assert "(known since 24 Nov 2026 06:00 UTC)" in render(replace(FAILED, roots=(root,))).body


def test_recovery_is_said_once_and_what_is_fixed_with_it() -> None:
    resolved = Resolved(timedelta(days=2), ("unique on raw.orders.order_id",))
    body = render(replace(PUBLISHED, resolved=resolved, fixed=resolved.failed)).body
    assert "Resolved after 2 days: unique on raw.orders.order_id.\n" in body
    assert "Fixed" not in body
    assert "Fixed: unique on raw.orders.order_id" in render(replace(FAILED, fixed=resolved.failed)).body


def test_figures_come_with_their_change_and_an_arrow() -> None:
    body = render(PUBLISHED).body
    assert "Repeat rate: 79.8 % (99 of 124 buyers ordered more than once) ▲ 0.3 points\n" in body
    assert "On Mon 23 Nov 2026:\n    Orders: 41 ▲ 3\n    Revenue: $4,210 ▼ $312\n" in body
    assert "    Conversion: 62.5 % = unchanged\nCompared with the publish of 23 Nov 2026 06:04 UTC.\n" in body


def test_without_a_former_figure_there_is_no_arrow() -> None:
    figures = replace(
        PUBLISHED.figures,
        repeat_rate=Figure("repeat_rate", "Repeat rate", Unit.PERCENT, 0.5),
        daily=(Figure("paid", "Paid for all of it", Unit.DOLLARS, 41),),
    )
    body = render(replace(PUBLISHED, figures=figures)).body
    assert "▲" not in body
    assert "    Paid for all of it: $41\n" in body


def test_a_run_that_was_not_published_claims_no_change_of_the_figures() -> None:
    body = render(replace(FAILED, figures=PUBLISHED.figures)).body
    assert "Repeat rate, as published: 79.8 %" in body
    assert "▲" not in body


def test_a_run_that_others_have_overtaken_says_whose_data_people_see() -> None:
    message = render(replace(PUBLISHED, published=False, overtaken=True))
    assert message.headline == "ℹ️ Greenery data: a run that was published before ran again, and changed nothing"
    assert "People query the data as of 24 Nov 2026 06:04 UTC, of another run." in message.body


def test_the_first_run_that_fails_says_that_nothing_is_published() -> None:
    assert "Nothing has been published yet." in render(replace(FAILED, data_as_of=None)).body


def test_a_run_that_never_began_is_reported_all_the_same() -> None:
    silent = replace(FAILED, roots=(), started_at=None, took=None)
    assert render(silent).headline == "🔴 Greenery data was not published: the run did not reach the end"


def test_a_task_that_died_is_the_first_line() -> None:
    broken = replace(FAILED, roots=(Root("task", "snapshot", (Failure("task", "snapshot", "its log says why"),)),))
    assert render(broken).headline == "🔴 Greenery data was not published: task snapshot failed"
    assert "task snapshot: its log says why (new)" in render(broken).body


def test_a_warning_is_said_in_the_headline_and_below_the_figures() -> None:
    warned = render(replace(PUBLISHED, warned=1, warnings=(BROKEN_TOTAL,)))
    assert warned.headline == "✅ Greenery data is up to date, 1 warning"
    assert warned.body.index("Repeat rate") < warned.body.index("Warned: model int_orders")


def test_no_change_is_said_and_not_left_out() -> None:
    assert "No order changed status since the last run." in render(replace(PUBLISHED, order_changes=())).body


def test_a_run_without_a_snapshot_does_not_claim_that_nothing_changed() -> None:
    assert "was not recorded in this run" in render(replace(FAILED, order_changes=None)).body


def test_orders_that_changed_are_counted_and_the_first_named() -> None:
    body = render(PUBLISHED).body
    assert "7 orders went from preparing to shipped\n" in body
    assert "    05202733-0e17-4726-97c2-0520c024ab85\n" in body
    assert "    and 2 more\n" in body


def test_the_links_lead_to_the_run_and_to_the_health_page_where_there_is_one() -> None:
    assert f"<{PUBLISHED.run_url}|Open the run in Airflow>" in everything(render(PUBLISHED))
    assert f"<{PUBLISHED.health_url}|Data health>" in everything(render(PUBLISHED))
    assert "Data health" not in everything(render(replace(PUBLISHED, health_url=None)))


def test_stakeholders_read_what_they_see_and_nothing_technical() -> None:
    body = render_state(replace(FAILED, failed=2, roots=(BROKEN_SOURCE,))).body
    assert body.startswith("🔴 Greenery data: no new data\n\nYou still see the data as of 23 Nov 2026 06:04 UTC.\n")
    assert "Who is at it: Data platform." in body
    assert not any(word in body for word in ("raw.orders", "order_id", "unique", "http", "model"))


def test_data_that_was_published_in_spite_of_tests_is_not_called_tested() -> None:
    by_hand = replace(FAILED, decision=Decision(1, "publish", "run", "ada", "why", KNOWN))
    assert "complete and tested" in render_state(FAILED).body
    assert "complete and tested" not in render_state(by_hand).body


@pytest.mark.parametrize("hostile", ["<!channel>", "<http://evil.example|click>", "<@U123>", "a & b > c"])
def test_markup_in_data_is_shown_and_not_obeyed(hostile: str) -> None:
    root = Root("model", hostile, (Failure("test", hostile, hostile, rows=({"name": hostile},)),))
    shown = everything(render(replace(FAILED, roots=(root,))))
    shown = shown.replace(f"<{FAILED.run_url}|Open the run in Airflow>", "")
    shown = re.sub(r"<http://localhost:8080/data-health/[^|<>]+\|[^<>]+>", "", shown)
    assert "<" not in shown
    assert ">" not in shown


@pytest.mark.parametrize("count", [1, 3, 300])
@pytest.mark.parametrize("length", [10, 10_000])
@pytest.mark.parametrize("together", [True, False], ids=["at one place", "at a place each"])
@pytest.mark.parametrize("age", ["new", "known"])
def test_any_number_and_length_of_failures_fits(count: int, length: int, together: bool, age: str) -> None:
    long = "&" * length
    failures = tuple(
        Failure("test", f"test_{n}", long, long, long, ({"key": long},) * 5, KNOWN if age == "known" else None, 2)
        for n in range(count)
    )
    behind = (long,) * count
    roots = tuple(
        Root("model", long, part, None, behind, behind, behind, BROKEN_TOTAL.log_url)
        for part in ([failures] if together else [(one,) for one in failures])
    )
    changes = (OrderChange("preparing", long, count, (long,) * 5),) * count
    report = replace(FAILED, failed=count, roots=roots, warnings=roots, order_changes=changes)
    message = render(replace(report, fixed=behind, not_built=behind))
    assert _problem({"text": message.headline, "blocks": message.blocks}) is None
    assert len(everything(message)) <= 10_000
    assert "test" in message.headline


def test_thirty_failures_are_all_named() -> None:
    body = render(replace(FAILED, failed=30, roots=places(30))).body
    assert all(f"model_{n}" in body for n in range(30))


@pytest.mark.parametrize("place", ["at one place", "at a place each"])
def test_failures_that_are_not_shown_are_counted_and_linked(place: str) -> None:
    roots = places(300)
    if place == "at one place":
        roots = (replace(roots[0], failures=tuple(failure for root in roots for failure in root.failures)),)
    message = render(replace(FAILED, failed=300, roots=roots))
    shown = message.body.count("6 rows where it does not hold")
    assert 0 < shown < 300
    assert f"… and {300 - shown} more failed. " in message.body
    assert f"<{FAILED.run_url}|All of them>" in everything(message)


def test_a_warehouse_that_is_down_is_said_without_it() -> None:
    message = unreachable("run 1", FAILED.run_url, "connection refused")
    assert message.headline == "🔴 Greenery data: the warehouse can't be reached"
    assert "connection refused" in everything(message)
    assert FAILED.run_url in everything(message)


def test_a_project_that_can_not_be_used_is_told_below_the_headline_with_what_to_write() -> None:
    problem = (
        f"dbt/models/marts/core/fact_orders.sql: {'model fact_orders reads dim_users ' * 8}Add {{'of': 'dim_users'}}"
    )
    lines = render(replace(PUBLISHED, project_problem=problem)).body.splitlines()
    [said] = [line for line in lines[:6] if "can't be used" in line]
    assert said.endswith("Add {'of': 'dim_users'}")


def test_notes_that_do_not_fit_are_counted() -> None:
    said = everything(render(replace(PUBLISHED, notes=tuple(f"note {number}" for number in range(6)))))
    assert "note 3 · and 2 more such notes" in said
    assert "more such notes" not in everything(render(replace(PUBLISHED, notes=("one", "two", "three", "four"))))


def test_the_first_line_counts_what_is_unusual() -> None:
    assert render(replace(PUBLISHED, unusual=(FEW_ORDERS, NO_PRODUCT))).headline == (
        "✅ Greenery data is up to date, 2 figures are unusual"
    )
    assert render(replace(PUBLISHED, warned=1, unusual=(FEW_ORDERS,))).headline.endswith(
        "up to date, 1 warning, 1 figure is unusual"
    )
    assert render(replace(PUBLISHED, unusual=(CONVERSION,))).headline.endswith("1 figure is unusual since Sat 21 Nov")


def test_what_is_unusual_says_what_is_usual_what_goes_with_it_whose_it_is_and_where_to_answer() -> None:
    message = render(replace(PUBLISHED, unusual=(FEW_ORDERS,)))
    assert "Rows of raw.orders: 12 on Mon 23 Nov; a Monday has 31 to 48 · Data platform\n" in message.body
    assert "With it 4 figures: Orders, Revenue, rows of raw.order_items and 1 more\n" in message.body
    assert "Downstream: Sales, Products and Website · Answer: http" in message.body
    assert "/answer?about=source.greenery.greenery.orders&amp;measure=rows&amp;day=2026-11-23|Answer>" in everything(
        message
    )
    assert "<!subteam^S0PLATFORM>" in everything(message)


def test_a_slow_change_is_told_of_the_days_that_show_it() -> None:
    slow = replace(FEW_ORDERS, unusual=replace(FEW_ORDERS.unusual, days=7))
    body = render(replace(PUBLISHED, unusual=(slow,))).body
    assert "Rows of raw.orders: 12 over the 7 days to Mon 23 Nov; usually 31 to 48" in body


def test_three_unusual_figures_are_told_in_full_what_is_known_in_a_line_and_the_rest_counted() -> None:
    known = tuple(replace(CONVERSION, title=f"Known {n}") for n in range(5))
    body = render(replace(PUBLISHED, unusual=(*known, *[NO_PRODUCT] * 10))).body
    assert body.count("Events without product_id: 41.0 %") == body.count("Answer: ") == 3
    assert [f"Known {n}: 62.5 %" in body for n in range(5)] == [True] * 3 + [False] * 2
    assert "(since Sat 21 Nov, 2 days) · Analytics\n… and 9 more. All that is unusual: http" in body


def test_stakeholders_hear_of_figures_of_marts_alone_and_by_the_first_that_a_lost_load_explains() -> None:
    message = render_state(replace(PUBLISHED, unusual=(FEW_ORDERS, NO_PRODUCT, SLOW_MODEL)))
    assert message.headline == "✅ Greenery data is up to date, 1 figure is unusual"
    assert "• Orders: 12 on Mon 23 Nov; a Monday has 31 to 48" in message.body
    assert "With it 1 figure: Revenue\n" in message.body
    assert not any(told in message.body for told in ("raw.", "product_id", "fact_product"))
    assert render_state(replace(PUBLISHED, unusual=(NO_PRODUCT,))) == render_state(PUBLISHED)


def test_a_red_run_tells_engineers_what_is_unusual_behind_what_failed() -> None:
    red = replace(FAILED, roots=(BROKEN_TOTAL,), unusual=(FEW_ORDERS,))
    assert render(red).body.index("Failed:") < render(red).body.index("Unusual:") < render(red).body.index("Repeat")
    assert render_state(red) == render_state(replace(red, unusual=()))


def test_the_first_line_says_that_something_unusual_holds_the_publish() -> None:
    holds = replace(NO_PRODUCT, unusual=replace(NO_PRODUCT.unusual, holds=True))
    refused = Root("task", "publish", (Failure("task", "publish", "Held: 1 figure is unusual"),))
    held = replace(FAILED, roots=(refused,), unusual=(replace(FEW_ORDERS, with_it=(holds,)),))
    assert render(held).headline == "🔴 Greenery data was not published: held, as 1 figure is unusual"
    assert render(replace(held, unusual=(FEW_ORDERS,))).headline.endswith("task publish failed")
    assert "usually 18.0 to 23.0 % · holds the publish" in render(replace(held, unusual=(holds,))).body
    assert "holds the publish" not in render(replace(PUBLISHED, unusual=(holds,))).body


def test_the_first_line_of_data_that_was_let_through_counts_what_is_unusual() -> None:
    through = replace(PUBLISHED, failed=1, roots=(BROKEN_TOTAL,), unusual=(FEW_ORDERS,))
    ending = "1 failed test was let through, 1 figure is unusual"
    assert render(through).headline.endswith(ending)
    by_hand = Decision(1, "publish", "run", "ada", "why", KNOWN)
    assert render(replace(through, decision=by_hand)).headline.endswith("although 1 test failed, 1 figure is unusual")


def test_whoever_owns_a_figure_that_holds_the_publish_is_named_to_those_who_look_at_the_data() -> None:
    held = replace(NO_PRODUCT, unusual=replace(NO_PRODUCT.unusual, holds=True))
    assert "Who is at it: Data platform." in render_state(replace(FAILED, roots=(), unusual=(held,))).body
