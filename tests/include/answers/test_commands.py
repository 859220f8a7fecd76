"""The same from a shell."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from include.answers import answers
from include.answers.__main__ import main
from tests.clock import today
from tests.include.results.project import FACTS
from tests.releases import make_release

pytestmark = pytest.mark.db


@pytest.fixture
def shop(db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connection:
    """A warehouse, and a dbt project that parsed."""
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    make_release("one", json.dumps({"nodes": FACTS.nodes, "sources": FACTS.sources}))
    (tmp_path / "dbt" / "current").symlink_to("releases/one")
    return db


def test_it_is_kept_by_login_listed_and_ended(shop: Connection, capsys: pytest.CaptureFixture[str]) -> None:
    until = today() + timedelta(days=2)
    muted = ["mute", "orders_unique", "--until", str(until), "--reason", "known", "--by", "Ada", "--waives"]
    assert main(muted) == 0
    [given] = answers.in_force(shop, today())
    assert (given.about.unique_id, given.until, given.waives) == ("test.p.orders_unique", until, True)
    assert re.fullmatch(r"\S+ \(\S+ on \S+\)", given.answered_by)
    assert capsys.readouterr().out.startswith(f"Done: 1  mute until {until}, let through: orders_unique, by ")
    assert main(["mine", "fact_orders", "--reason", "at it"]) == 0
    assert main(["end", "1", "--reason", "mended"]) == 0
    capsys.readouterr()
    assert main(["list"]) == 0
    assert re.fullmatch(r"2  mine: fact_orders, by .*: at it\n", capsys.readouterr().out)
    assert main(["list", "--all"]) == 0
    assert re.search(r"\n1  mute .* known; ended by .*: mended\n$", capsys.readouterr().out)


def test_no_reason_makes_a_line_of_its_own_or_speaks_to_the_terminal(
    shop: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mine", "fact_orders", "--reason", "at it\n2  mute: all\x1b[2J"]) == 0
    assert capsys.readouterr().out.endswith(": at it 2  mute: all [2J\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mine", "nothing", "--reason", "x"], "There is no test, model"),
        (["mute", "fact_orders", "--until", "2020-01-01", "--reason", "x"], "is in the past"),
        (["end", "7", "--reason", "x"], "Answer 7 is not there"),
    ],
)
def test_what_is_refused_is_said_and_nothing_is_kept(
    shop: Connection, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(arguments) == 1
    assert said in capsys.readouterr().err
    assert answers.kept(shop) == ()
