"""What a piece of a line becomes: in plain text, and in Slack's own markup."""

from __future__ import annotations

import pytest

from include.slack.message import Bold, Code, Line, Link, Mention, compose, markdown, plain, safe, short


@pytest.mark.parametrize(
    ("line", "text", "sent"),
    [
        (("a < b & c",), "a < b & c", "a &lt; b &amp; c"),
        ((Bold("fact*orders"),), "fact*orders", "*fact∗orders*"),
        ((Code("it's `x`"),), "it's `x`", "`it's 'x'`"),
        (
            (Link("log", "http://a/?b=1&c=<d|e>"),),
            "log: http://a/?b=1&c=<d|e>",
            "<http://a/?b=1&amp;c=&lt;d%7Ce&gt;|log>",
        ),
        ((Mention("Ada", "U0123ABCD"),), "Ada", "<@U0123ABCD>"),
        ((Mention("Data", "S0123ABCD"),), "Data", "<!subteam^S0123ABCD>"),
        ((Mention("Data", "W0123ABCD"),), "Data", "<@W0123ABCD>"),
        ((Mention("Data", "@data"),), "Data (@data)", "Data (@data)"),
        ((Mention("Data", "<!channel>"),), "Data (<!channel>)", "Data (&lt;!channel&gt;)"),
        (
            (Mention("Data", "U0123ABCD> <!channel"),),
            "Data (U0123ABCD> <!channel)",
            "Data (U0123ABCD&gt; &lt;!channel)",
        ),
        ((Mention("Data"),), "Data", "Data"),
    ],
)
def test_a_line_in_text_and_in_markup(line: Line, text: str, sent: str) -> None:
    assert (plain(line), markdown(line)) == (text, sent)


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("two\nlines\r\n\u2028more", "two lines   more"),
        ("\u202eabc\u202c\u2066d\u2069", "abcd"),
        ("in\u200bvis\u200dible\ufeff\x00\x1b[1m", "invisible[1m"),
        ("שלום", "\u2068שלום\u2069"),
        ("\u2069שלום\u2068", "\u2068שלום\u2069"),
        ("a \u2068שלום\u2069 b", "a \u2068שלום\u2069 b"),
        ("🪴 Ünïcode", "🪴 Ünïcode"),
    ],
)
def test_invisible_characters_do_nothing(hostile: str, shown: str) -> None:
    assert safe(hostile) == shown


def test_a_long_text_is_cut_as_slack_counts_it() -> None:
    assert short("a" * 240) == "a" * 240
    assert short("a" * 241) == "a" * 239 + "…"
    assert len(short("&" * 241)) == 239 // 5 + 1
    assert short("א" * 10_000)[-2:] == "…\u2069"


def test_a_message_that_is_too_long_says_so() -> None:
    message = compose("failed", "headline", [[("x" * 1000,)]] * 60, ("footer",))
    assert message.body.endswith("… there is more, which did not fit into this message.\n\nfooter")
    assert len(message.blocks) <= 50


def test_a_long_section_becomes_several() -> None:
    message = compose("failed", "headline", [[("x" * 1000,)] * 7], ("footer",))
    assert [len(block["text"]["text"]) for block in message.blocks[1:-1]] == [2001, 2001, 2001, 1000]


def test_a_headline_can_not_speak_and_is_short() -> None:
    message = compose("failed", f"<!channel>\n{'x' * 500}", [], ("footer",))
    assert message.headline.startswith("‹!channel› xxx")
    assert len(message.headline) <= 150
    assert message.blocks[0]["text"]["text"] == message.headline
