"""What moved since it was told: which periods are told, what goes together, and by which rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

from include.receipts.move import Cause, Move, Part, Period, Side, What
from include.slack.message import markdown, plain, size
from include.slack.moved import LIMIT, SHOWN, counted, lines
from include.slack.render import render, render_state
from include.slack.samples import FAILED, MOVED, PUBLISHED, late, move

DAY = date(2026, 10, 14)
MONTH = DAY.replace(day=1)


def told(*moves: Move, keys: bool = False) -> list[str]:
    return [plain(line).removeprefix("• ") for line in lines(replace(PUBLISHED, moves=moves), keys=keys)[1:]]


def test_the_largest_period_is_told_and_the_day_only_where_it_is_the_only_one() -> None:
    year = move("revenue", date(2025, 1, 1), "900", "960", late("60", 2), period=Period.YEAR)
    days = [move("revenue", date(2025, month, 3), "30", "60", late("30", 1)) for month in (10, 8)]
    months = [replace(one, period=Period.MONTH, starts=one.starts.replace(day=1)) for one in days]
    assert told(year, *months, *days) == [
        "Revenue of 2025 is $60 higher than told ($960, told $900): 2 orders came late."
    ]
    assert told(months[0], days[0]) == [
        "Revenue of October 2025 is $30 higher than told ($60, told $30), all of it on Fri 3 Oct: 1 order came late."
    ]


def test_a_month_does_not_stand_for_what_moved_from_a_day_of_it_to_another() -> None:
    month = move("revenue", MONTH, "100", "103", late("3", 1), period=Period.MONTH)
    day = move("revenue", DAY, "30", "23", replace(late("-10", 1), what=What.MOVED_OUT), late("3", 1))
    assert [said.split(" is ")[0] for said in told(month, day)] == ["Revenue of October", "Revenue of Wed 14 Oct"]
    of_both = replace(month, parts=day.parts)
    assert len(told(of_both, day)) == 1


def test_all_of_it_is_on_a_day_only_where_no_day_before_the_period_moved() -> None:
    """Users by the end of October are 3 more than told: 2 of them signed up in September."""
    months = [move("users", date(2026, 10, 1), "30", "33", late("3", 3), period=Period.MONTH)]
    days = [move("users", DAY, "30", "33", late("3", 3)), move("users", date(2026, 9, 20), "20", "22", late("2", 2))]
    assert "all of it" in told(*months, *days[:1])[0]
    assert "all of it" not in told(*months, *days)[0]


def test_no_rows_are_told_where_they_are_not_the_whole_difference() -> None:
    assert told(move("revenue", DAY, "10", "40", late("29", 1), adds_up=False)) == [
        "Revenue of Wed 14 Oct is $30 higher than told ($40, told $10); by which rows is not known."
    ]


def test_what_the_same_rows_moved_is_a_line_that_leads_with_money() -> None:
    assert told(
        move("orders", DAY, "12", "16", late("4")),
        move("paid", DAY, "20.10", "20.60", late("0.50")),
        move("revenue", DAY, "1207.40", "1517.40", late("310")),
        move("units", DAY, "30", "21", late("-9")),
        move("sessions", DAY, "30", "31", late("1", 1, model="int_user_sessions")),
    ) == [
        "Revenue of Wed 14 Oct is $310 higher than told ($1,517, told $1,207), with paid +$0.50, orders +4 and units "
        "-9: 4 orders came late.",
        "Sessions of Wed 14 Oct are 1 higher than told (31, told 30): 1 session came late.",
    ]


def test_what_other_rows_moved_is_a_line_of_its_own() -> None:
    others = late("4", keys=("another",))
    assert len(told(move("revenue", DAY, "1", "5", late("4")), move("orders", DAY, "1", "5", others))) == 2


def test_each_kind_of_row_is_told_with_what_it_adds_and_what_was_corrected() -> None:
    kinds = tuple(replace(late("-2", 2), what=what) for what in What)
    corrected = replace(late("30", 1), what=What.CORRECTED, changed=("units",))
    [said] = told(
        move("revenue", DAY, "100", "122", *(one for one in kinds if one.what is not What.CORRECTED), corrected)
    )
    assert said.endswith(
        "2 orders came late (-$2.00), 2 orders are gone (-$2.00), 2 orders were counted on another day before "
        "(-$2.00), 2 orders are counted on another day now (-$2.00), 1 order was corrected (+$30.00; units)."
    )


def test_a_row_that_is_counted_above_and_below_a_ratio_is_one_row() -> None:
    [said] = told(
        move(
            "conversion",
            DAY,
            "0.624",
            "0.6241",
            late("2", 2),
            late("3", 3, side=Side.DENOMINATOR),
            late("1", 1, model="x"),
        )
    )
    assert said == (
        "Conversion of Wed 14 Oct is 0.01 points higher than told (62.41 %, told 62.40 %): 3 orders came late, "
        "1 row came late."
    )


def test_causes_of_ours_are_told_once_for_all_that_they_moved_and_beside_rows_as_at_the_same_time() -> None:
    ours = (Cause("model", "model fact_orders changed"),)
    blind = [move(name, day, "1", "2", causes=ours) for day in (DAY, MONTH) for name in ("orders", "units")]
    assert told(*blind, move("revenue", DAY, "1", "2", late("1", 1), causes=ours)) == [
        "Revenue of Wed 14 Oct is $1.00 higher than told ($2.00, told $1.00): 1 order came late; "
        "at the same time model fact_orders changed.",
        "Orders of Wed 14 Oct are 1 higher than told (2, told 1), with units +1, and 2 figures of other days, months "
        "and years: model fact_orders changed.",
    ]


def test_a_cause_of_ours_comes_first_where_rows_count_otherwise_for_no_other_reason() -> None:
    corrected = replace(late("30", 3), what=What.CORRECTED, changed=("items_amount",))
    given = move("revenue", DAY, "1", "32", late("1", 1), corrected, causes=(Cause("model", "model orders changed"),))
    assert told(given) == [
        "Revenue of Wed 14 Oct is $31 higher than told ($32, told $1): model orders changed; "
        "1 order came late (+$1.00), 3 orders count otherwise (+$30.00; items_amount)."
    ]


def test_a_row_that_was_there_did_not_come_late() -> None:
    """As an order that was not delivered, of a figure by the day of the delivery."""
    was_there = replace(late("2", 2), changed=("delivered_at",))
    gone = replace(late("-1", 1), what=What.GONE, changed=("delivered_at",))
    [said] = told(move("late_orders", DAY, "1", "3", was_there, late("1", 1), gone))
    assert said.endswith(
        ": 2 orders were not counted before (+2; delivered_at), 1 order came late (+1), "
        "1 order is not counted any more (-1; delivered_at)."
    )


def test_what_rows_add_to_a_number_of_a_ratio_is_not_told_in_its_unit() -> None:
    """Also where nothing was added to what it is divided by."""
    [said] = told(move("conversion", DAY, "0.50", "0.51", late("2", 2), replace(late("-1", 1), what=What.GONE)))
    assert said.endswith(": 2 orders came late, 1 order is gone.")


def test_what_was_not_told_before_or_is_told_no_more_is_said_so() -> None:
    assert [
        said.split(";")[0] for said in told(move("orders", DAY, None, "2", late("2")), move("paid", MONTH, "3", None))
    ] == [
        "Orders of Wed 14 Oct are 2, not told before: 4 orders came late.",
        "Paid of Thu 1 Oct is told no more (told $3.00)",
    ]


def test_what_is_usual_is_counted_alone() -> None:
    usual = move("orders", DAY, "1", "2", late("1"), usual=True)
    section = lines(replace(PUBLISHED, moves=(replace(usual, period=Period.MONTH, starts=MONTH), usual)), keys=True)
    assert [plain(line) for line in section] == ["1 figure of earlier days moved by what usually comes late."]
    assert counted(replace(PUBLISHED, moves=(usual,))) == ""


def test_a_figure_of_one_day_leads_to_its_receipt_as_it_is_told_now() -> None:
    month = move("revenue", MONTH, "100", "130", late("30", 1), period=Period.MONTH)
    day = move("revenue", DAY, "10", "40", late("30", 1))
    receipt = "/data-health/figures/revenue/2026-10-14?told_on=2026-11-24T06%3A04%3A00.000000Z|$"
    [_, line] = lines(replace(PUBLISHED, moves=(month, day)), keys=False)
    assert f"{receipt}130>" in markdown(line)
    [_, line] = lines(replace(PUBLISHED, moves=(month, day, replace(day, starts=MONTH))), keys=False)
    assert "http" not in markdown(line)


def test_keys_are_for_those_who_mend() -> None:
    summary = replace(PUBLISHED, moves=MOVED)
    key = "914b8929-e04a-40f8-86ee-357f2be3a2a2"
    full, state = (
        message.body.partition("Moved since")[2].partition(" went from ")[0]
        for message in (render(summary), render_state(summary))
    )
    assert key in full
    assert key not in state
    assert "4 orders came late" in state


def test_keys_that_are_not_shown_are_counted_by_their_rows() -> None:
    part = late("30", 9, keys=("a", "b", "c", "d"))
    assert told(move("revenue", DAY, "10", "40", part), keys=True)[0].endswith(
        ": 9 orders came late (a, b, c and 6 more)."
    )


def test_the_first_line_counts_the_lines_for_both() -> None:
    summary = replace(PUBLISHED, moves=MOVED)
    assert (
        render(summary).headline == render_state(summary).headline == "✅ Greenery data is up to date, 3 figures moved"
    )


def test_of_very_many_the_first_are_told_and_the_others_counted_with_a_link() -> None:
    moves = tuple(
        move(name, date(2026, 1 + number % 9, 1 + number // 9), "1", "2", late("1", 1, model="x" * 2000))
        for number in range(200)
        for name in ("orders", "units")
    )
    section = lines(replace(PUBLISHED, moves=moves), keys=True)
    assert plain(section[-1]) == f"… and {200 - SHOWN} more. All that moved: http://localhost:8080/data-health/figures"
    assert size(section[:-1]) < LIMIT + 100


def test_a_number_that_is_none_costs_its_own_line_alone() -> None:
    assert told(move("orders", DAY, "NaN", "2"), move("units", DAY, "1", "2", late("1")))[0].startswith("Units of")


def test_parts_of_an_unknown_metric_and_model_are_told_by_their_names() -> None:
    part = Part(Side.NUMERATOR, What.GONE, "model.shop.returns", 2, Decimal(-2))
    assert told(move("returned_things", DAY, "5", "3", part)) == [
        "returned_things of Wed 14 Oct are 2 lower than told (3, told 5): 2 rows are gone."
    ]


def test_a_run_that_did_not_publish_tells_nothing() -> None:
    assert "moved" not in render(FAILED).body
