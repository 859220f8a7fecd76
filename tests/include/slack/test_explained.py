"""Why a figure differs: what is told of it, and that it adds up."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as some

from include.receipts.explanation import Explanation, Meanwhile, Share, Split
from include.slack.explained import SHOWN, lines
from include.slack.message import markdown, plain
from include.slack.samples import PUBLISHED, WHY_REVENUE, move


def told(*explanations: Explanation) -> list[str]:
    """Each figure with its lines."""
    said = "\n".join(plain(line) for line in lines(replace(PUBLISHED, explanations=explanations), in_full=True))
    return re.split(r"\n(?=Why)", said) if said else []


def split(*amounts: Decimal, dimension: str = "product") -> Split:
    shares = (Share(f"p{n}", f"Product {n}", Decimal(10), 10 + one, one) for n, one in enumerate(amounts))
    return Split(dimension, dimension, tuple(shares))


def of(*amounts: Decimal, metric: str = "revenue") -> Explanation:
    former = Decimal("0.5") if metric == "conversion" else Decimal(10 * len(amounts))
    return replace(
        WHY_REVENUE, metric=metric, former=former, value=former + sum(amounts), splits=(split(*amounts),), meanwhile=()
    )


@given(
    some.lists(some.decimals(-40, 40, places=2), min_size=2, max_size=12), some.sampled_from(("revenue", "conversion"))
)
def test_the_points_that_are_told_add_up_to_the_whole(amounts: list[Decimal], metric: str) -> None:
    for said in told(of(*amounts, metric=metric)):
        whole = re.search(r"is ([\d.,]+) (%|points?) (higher|lower)", said)
        along, _, against = said.partition("By product: ")[2].partition("\n")[0].partition(", against ")
        along, against = (re.findall(r"([\d.]+) points?", part.replace(",", "")) for part in (along, against))
        assert sum(map(Decimal, along)) - sum(map(Decimal, against)) == Decimal(whole[1].replace(",", ""))


def test_it_is_told_in_points_of_the_whole_change_with_what_happened_at_the_same_time() -> None:
    [said] = told(WHY_REVENUE)
    assert said.startswith("Why: Revenue of Mon 23 Nov is 12 % lower than on Sun 22 Nov; nothing failed.\n")
    assert (
        "By product: 9 points Monstera (at the same time: sold out at 10:40), 3 points Pothos, 1 point the rest, "
        in said
    )
    assert said.endswith("\n    At the same time: raw.orders was last loaded at 18:20, before the day was over")
    assert "because" not in said


def test_those_who_look_at_the_data_hear_nothing_of_tables_and_tests() -> None:
    said = "\n".join(plain(line) for line in lines(replace(PUBLISHED, explanations=(WHY_REVENUE,)), in_full=False))
    assert "sold out at 10:40" in said
    assert "raw.orders" not in said


def test_a_former_day_that_moved_is_told_as_it_is_and_as_it_was() -> None:
    """The arrow beside the figure compares with what was told, this with what is published."""
    moves = (move("revenue", WHY_REVENUE.former_day, "4600.00", f"{WHY_REVENUE.former}"),)
    why = replace(WHY_REVENUE, meanwhile=(Meanwhile("moved", "22 Nov had been told as $4,600"),))
    first, *rest = lines(replace(PUBLISHED, explanations=(why,), moves=moves), in_full=True)
    assert plain(first).endswith("12 % lower than on Sun 22 Nov ($4,522 now, told $4,600); nothing failed.")
    assert "had been told" not in "".join(map(plain, rest))


def test_a_split_by_which_each_item_moved_as_its_size_lets_expect_is_not_told() -> None:
    assert "state" not in told(WHY_REVENUE)[0]
    assert told(replace(WHY_REVENUE, splits=WHY_REVENUE.splits[2:])) == []


def test_the_split_that_says_more_comes_first() -> None:
    little, much = (
        split(Decimal(-2), Decimal(-1), Decimal(-1)),
        split(Decimal(-4), Decimal(0), Decimal(0), dimension="promo"),
    )
    [said] = told(replace(WHY_REVENUE, former=Decimal(30), value=Decimal(26), splits=(little, much)))
    assert said.index("By promo: 13 points Product 0") < said.index("By product: 7 points Product 0, ")


def test_what_happened_to_an_item_that_is_not_told_is_left_to_the_receipt() -> None:
    other = Meanwhile("stock-out", "sold out at 09:00", "product", "p9")
    assert told(replace(WHY_REVENUE, meanwhile=(*WHY_REVENUE.meanwhile, other))) == told(WHY_REVENUE)


def test_a_share_in_percent_differs_by_points_of_itself() -> None:
    [said] = told(of(Decimal("-0.04"), Decimal("-0.012"), metric="conversion"))
    assert said == (
        "Why: Conversion of Mon 23 Nov is 5.2 points lower than on Sun 22 Nov; nothing failed.\n"
        "    By product: 4.0 points Product 0, 1.2 points Product 1"
    )


def test_an_item_that_is_all_there_is_explains_nothing() -> None:
    alone = Share("TX", "Texas", Decimal("0.5"), Decimal("0.4"), Decimal("-0.1"))
    why = replace(WHY_REVENUE, metric="conversion", former=alone.former, value=alone.value)
    assert told(replace(why, splits=(Split("state", "State", (alone,)),))) == []
    assert told(replace(why, splits=(Split("state", "State", (replace(alone, former=Decimal("0.9")),)),))) != []


def test_it_leads_to_the_receipt() -> None:
    line, *_ = lines(replace(PUBLISHED, explanations=(WHY_REVENUE,)), in_full=True)
    assert "/data-health/figures/revenue/2026-11-23?told_on=2026-11-24T06%3A04%3A00.000000Z|12 %>" in markdown(line)


def test_not_more_than_two_figures_are_explained_those_of_the_message_first() -> None:
    every = [replace(WHY_REVENUE, metric=metric) for metric in ("paid", "orders", "revenue")]
    assert [said.split(" of ")[0] for said in told(*every)] == ["Why: Orders", "Why: Revenue"]
    assert SHOWN == 2


def test_nothing_is_told_of_a_figure_that_was_0_or_did_not_change() -> None:
    assert told(replace(WHY_REVENUE, former=Decimal(0)), replace(WHY_REVENUE, value=WHY_REVENUE.former)) == []


def test_nothing_failed_is_said_only_where_it_is_so() -> None:
    line, *_ = lines(replace(PUBLISHED, explanations=(WHY_REVENUE,), warned=1), in_full=True)
    assert "nothing failed" not in plain(line)
