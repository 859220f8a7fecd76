"""Block Kit as HTML: what Slack would draw, and nothing that text out of the data asks for."""

from __future__ import annotations

import pytest

from include.slack.draw import draw
from include.slack.message import escape
from include.slack.samples import HOSTILE, messages


def drawn(text: str, kind: str = "mrkdwn") -> str:
    return draw([{"type": "section", "text": {"type": kind, "text": text}}], {"U123": "Ada & <Co>"})


def section(content: str) -> str:
    return f'<div class="section">{content}</div>'


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("*bold* and `code`", "<b>bold</b> and <code>code</code>"),
        ("a &lt; b &amp;&amp; c", "a &lt; b &amp;&amp; c"),
        ("&amp;lt;", "&amp;lt;"),
        (
            "<https://a.example/?b=1&amp;c=2|A &amp; B>",
            '<a class="out" href="https://a.example/?b=1&amp;c=2">A &amp; B</a>',
        ),
        ("<@U123>", '<span class="mention">@Ada &amp; &lt;Co&gt;</span>'),
        ("<!subteam^S9>", '<span class="mention">@S9</span>'),
    ],
)
def test_it_is_drawn_as_slack_would(text: str, html: str) -> None:
    assert drawn(text) == section(html)


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<!channel>",
        "<!here|here>",
        "<javascript:alert(1)|click>",
        "<JAVASCRIPT:alert(1)|click>",
        "<data:text/html,x|click>",
        "<https://a.example onmouseover=alert(1)|click>",
        "<img src=x onerror=alert(1)>",
        "< https://a.example|click>",
        "a > b < c \" ' &",
    ],
)
@pytest.mark.parametrize("kind", ["mrkdwn", "plain_text"])
def test_what_is_no_markup_of_ours_is_shown_as_text(hostile: str, kind: str) -> None:
    inside = drawn(hostile, kind).removeprefix('<div class="section">').removesuffix("</div>")
    assert not set("<>\"'") & set(inside)


def test_an_address_can_not_leave_its_attribute() -> None:
    shown = drawn("<https://a.example/\"🔴'x|go>")
    assert shown == section('<a class="out" href="https://a.example/&quot;🔴&#x27;x">go</a>')


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped_text_of_the_data_is_shown_as_it_is(text: str) -> None:
    assert "<a" not in drawn(escape(text))
    assert "mention" not in drawn(escape(text))


def test_a_block_of_another_kind_is_left_out_or_a_section() -> None:
    blocks = [{"type": "divider"}, {"type": '"><script>', "text": {"type": "plain_text", "text": "x"}}, {}]
    assert draw(blocks) == section("x")


def test_every_sample_is_drawn_without_an_address_that_is_not_ours() -> None:
    for message in messages().values():
        assert 'href="http://evil' not in draw(message.blocks)
