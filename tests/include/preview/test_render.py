"""A preview's report as text and as a comment, against golden files, and against what GitHub takes.

`GOLDEN=write` in the environment writes the files anew; read the difference before you commit it.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from include.preview.render import markdown, text
from include.preview.render.lineage import mermaid
from include.preview.report import Became, Report, Verdict, from_json, to_json
from tests.include.preview.reports import (
    COMMENTS,
    FAILS,
    FAN_OUT,
    FILTERED,
    HOSTILE_REPORT,
    NEW_MART,
    ODD,
    RENAMED,
    REPORTS,
    SAME,
)

GOLDEN = Path(__file__).parent / "golden"
# What GitHub makes links and mentions of in a text that is rendered.
FOUND_BY_GITHUB = re.compile(r"[@#]\w|://|www\.|\bGH-\d", re.IGNORECASE)


def shown(report: Report) -> str:
    """The comment as HTML, without its code: as GitHub renders Markdown."""
    html = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(markdown(report))
    return unescape(re.sub(r"<pre>.*?</pre>|<code[^>]*>.*?</code>", "", html, flags=re.DOTALL))


@pytest.mark.parametrize("name", REPORTS)
def test_a_preview_is_as_its_golden_files_have_it(name: str) -> None:
    files = {GOLDEN / f"{name}.txt": text(REPORTS[name]), GOLDEN / f"{name}.md": markdown(REPORTS[name])}
    if os.environ.get("GOLDEN") == "write":
        for file, content in files.items():
            file.write_text(content)
    assert {file.name: content for file, content in files.items()} == {file.name: file.read_text() for file in files}


def test_a_figure_that_the_message_no_longer_has_is_worth_a_look() -> None:
    report = replace(REPORTS["comments"], plan=replace(COMMENTS.plan, figures_gone=("Revenue",)))
    assert report.verdict is Verdict.YELLOW
    assert text(report).startswith("🟡 Merging this takes figure Revenue out of the message")
    assert "• The message no longer has Revenue." in text(report)
    more = replace(report, plan=replace(report.plan, figures_gone=(), figures_new=("Refunds",)))
    assert text(more).startswith("🟢 Merging this adds figure Refunds; nothing else changes")


def test_a_test_that_goes_is_asked_about() -> None:
    """Nothing moves, and from then on nobody looks."""
    report = replace(REPORTS["comments"], plan=replace(COMMENTS.plan, tests_gone=("unique on fact_orders.order_id",)))
    assert "• Ask what looks after the data in place of unique on fact_orders.order_id." in text(report)


def test_every_golden_file_is_that_of_a_report() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(REPORTS)


@pytest.mark.parametrize("name", REPORTS | ODD)
def test_a_report_goes_to_json_and_back(name: str) -> None:
    assert from_json(to_json((REPORTS | ODD)[name])) == (REPORTS | ODD)[name]


@pytest.mark.parametrize("name", REPORTS | ODD)
def test_github_takes_it(name: str) -> None:
    comment = markdown((REPORTS | ODD)[name])
    assert len(comment) < 65_000
    assert comment.count("<details>") == comment.count("</details>")


def test_what_does_not_fit_is_left_out_whole_and_that_is_said() -> None:
    comment = markdown(replace(FAN_OUT, notes=("`" * 600,) * 30))
    assert "too long for a comment" in comment
    assert not re.search(r"^#+ .*\n\n#", comment, re.MULTILINE), "a title with nothing below it"
    assert "Figures that move" in comment
    assert "too long for a comment" not in markdown(FAN_OUT)


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (SAME, "🟢 The dbt project is the same as in main"),
        (COMMENTS, "🟢 Nothing that people see changes"),
        (NEW_MART, "🟢 Merging this adds model weekly_orders and column dim_days.is_holiday; nothing else changes"),
        (FILTERED, "🟡 Merging this moves 2 figures: orders of Mon 23 Nov from 41 to 39"),
        (FAN_OUT, "🔴 Merging this breaks 3 tests and moves 4 figures: revenue of Mon 23 Nov from $4,210 to $8,421"),
        (FAILS, "🔴 Merging this breaks model fact_orders"),
    ],
)
def test_the_first_line_says_whether_to_merge(report: Report, said: str) -> None:
    assert " ".join(text(report).split("\n\n")[0].split()) == said


def test_a_column_that_people_query_breaks_the_merge_whoever_reads_it() -> None:
    alone = replace(RENAMED, tests=(), readers=())
    assert alone.verdict is Verdict.RED
    assert text(alone).startswith("🔴 Merging this breaks column fact_orders.order_total\n")


def test_tests_of_a_model_that_is_not_there_are_counted_and_do_not_hide_the_model() -> None:
    said = text(FAILS)
    assert "31 tests can't run, since what they test was not built." in said
    assert "test_30" not in said


def test_a_test_that_only_warns_is_named_in_the_first_line() -> None:
    [failing, *_] = FAN_OUT.tests
    warns = replace(COMMENTS, tests=(replace(failing, became=Became.WARNS),))
    assert text(warns).startswith("🟡 Merging this warns of test unique on fact_orders.order_id\n")


def test_a_unit_test_is_called_so_once_and_named_where_it_says_what_to_mend() -> None:
    [unit] = [one for one in FAN_OUT.tests if one.differs]
    said = text(replace(FAN_OUT, tests=(unit,), figures=()))
    assert said.startswith("🔴 Merging this breaks unit test counts_units_once and moves rows of 3 models\n")
    assert "• Mend fact_orders, or change what fails: counts_units_once.\n" in said


def test_what_to_mend_is_what_the_change_touches_and_not_where_a_test_finds_it() -> None:
    [first, second, *_] = FAN_OUT.tests
    said = text(replace(FAN_OUT, tests=(replace(first, model="daily_metrics"), second)))
    assert "• Mend fact_orders, or change what fails: " in said


def test_helpers_are_counted_beside_marts_and_told_where_they_alone_move() -> None:
    said = text(FAN_OUT)
    assert "• 1 helper has other rows as well: int_daily_figures.\n" in said
    assert "int_daily_figures changes in" not in said
    alone = text(replace(FAN_OUT, rows=tuple(one for one in FAN_OUT.rows if one.name == "int_daily_figures")))
    assert "• int_daily_figures changes in revenue (92 rows).\n" in alone


def test_the_terminal_shows_the_first_of_what_a_comment_folds_and_names_the_rest() -> None:
    said = text(FAN_OUT)
    assert "Revenue by day (14):\n" in said
    assert "Orders by day (14):\n" not in said
    assert "In report.md (--out DIR) as well: Orders by day (14).\n" in said


def test_lines_of_the_terminal_are_at_most_80_wide() -> None:
    before_the_message = text(replace(FAN_OUT, message="")).splitlines()
    assert [line for line in before_the_message if len(line) > 80] == []


def test_data_makes_no_markup() -> None:
    html = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(markdown(HOSTILE_REPORT))
    tags = {tag.lower() for tag in re.findall(r"<([a-zA-Z!/][^\s>]*)", html)}
    ours = {"h2", "h3", "ul", "li", "p", "strong", "b", "i", "em", "sub", "details", "summary", "code", "pre"}
    ours |= {"table", "thead", "tbody", "tr", "th", "td"}
    assert {tag.lstrip("/") for tag in tags} <= ours


def test_github_finds_no_mention_and_no_address_in_data() -> None:
    assert FOUND_BY_GITHUB.findall(shown(HOSTILE_REPORT)) == []


def test_a_row_of_a_table_has_as_many_cells_as_its_header() -> None:
    tables = re.findall(r"<table>.*?</table>", shown(HOSTILE_REPORT), re.DOTALL)
    assert tables
    for table in tables:
        cells = {len(re.findall(r"<t[hd][ >]", row)) for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)}
        assert len(cells) == 1


def test_data_ends_no_folded_part_and_no_block_of_code() -> None:
    report = replace(COMMENTS, message="first\n```\n</details>\n@ana\n````\nlast")
    html = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(markdown(report))
    [block] = re.findall(r"<pre>.*?</pre>", html, re.DOTALL)
    assert "@ana" in block
    assert "last" in block


def test_the_graph_has_no_more_boxes_than_a_reader_takes_in() -> None:
    for report in ODD.values():
        graph = mermaid(report)
        assert len(re.findall(r"^    \w+[\[(]", graph, re.MULTILINE)) <= 45
        assert not re.search(r"[<>&`{}]", graph.replace("-->", ""))
