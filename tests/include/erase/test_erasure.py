"""Forgetting a person, on raw, a mart and what runs said: whom it finds, what stays, and that it is all or nothing."""

from __future__ import annotations

import re
from datetime import timedelta

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection

from include.daily import buffers
from include.erase import __main__ as command
from include.erase import erasure
from include.erase.places import EraseError
from include.raw import lease
from include.results import runs
from include.warehouse import connect, sandbox
from tests.include.erase.conftest import ANN, SHOP, ask, everything, forget, loaded

pytestmark = pytest.mark.db


def test_a_person_is_nowhere_and_the_rows_stay(shop: Connection) -> None:
    certificate = forget("ann-0001", "ann@example.com asked")
    left = everything(shop)
    assert [value for value in ANN if value in left] == []
    counts = "select (select count(*) from raw.{0}), (select count(distinct user_id) from raw.{0})"
    assert [ask(shop, counts.format(table)) for table in ("users", "orders", "events")] == [
        [(3, 3)],
        [(3, 2)],
        [(2, 2)],
    ]
    [(user, name, state)] = ask(
        shop,
        "select user_id, first_name, state from raw.users join raw.addresses using (address_id)"
        " where starts_with(user_id, 'erased-')",
    )
    assert (name, state) == (None, "Ohio")
    assert ask(shop, f"select user_product_id from analytics_next.int_first_purchases where user_id = '{user}'") == [
        (f"{user}/fern",)
    ]
    assert certificate.changed == {
        "analytics.dim_users": 1,
        "analytics_next.int_first_purchases": 1,
        "raw.addresses": 1,
        "raw.events": 1,
        "raw.orders": 2,
        "raw.users": 1,
        "staging.int_orders__changes": 2,
    }
    assert (certificate.erased_by, certificate.reason) == ("ada", "[erased] asked")


def test_what_others_share_stays_theirs(shop: Connection) -> None:
    forget("ann-0001")
    assert ask(shop, "select address, zipcode from raw.addresses where address_id = 'work'") == [
        ("2 Mill Lane", "99999")
    ]
    assert ask(shop, "select last_name from raw.users where user_id = 'bob-0002'") == [("May",)]
    # Of the order that went there, the place is told and no street.
    assert ask(
        shop, "select address, state from raw.orders join raw.addresses using (address_id) where order_id = 'o2'"
    ) == [(None, "Texas")]


def test_a_user_without_orders_is_still_counted(shop: Connection) -> None:
    forget("eve-0003")
    assert ask(shop, "select count(*) from raw.users") == [(3,)]
    assert ask(shop, "select nspname from pg_namespace where nspname ~ '^preview_'") == []


@pytest.mark.parametrize("user_id", ["nobody", "", "ann-000", "%"])
def test_an_unknown_id_is_refused_and_nothing_changed(shop: Connection, user_id: str) -> None:
    before = everything(shop)
    with pytest.raises(EraseError, match="No user has this id"):
        forget(user_id)
    assert everything(shop) == before


def test_twice_says_when_it_was_and_gives_the_certificate_of_then(
    shop: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    """Who was killed once it was committed has not got it."""
    certificate = forget("ann-0001")
    before = everything(shop)
    assert forget("ann-0001", "asked again") == certificate
    said = rf"was erased at .* \(certificate {certificate.erasure_id}\); nothing has come back"
    assert re.search(said, caplog.text)
    assert everything(shop) == before


def test_a_day_later_nobody_is_told_who_stands_in_for_a_person(shop: Connection) -> None:
    """Who knows an id could find the person's orders in the marts by it."""
    forget("ann-0001")
    with shop.cursor() as cursor:
        cursor.execute("update ops.erasures set erased_at = erased_at - interval '25 hours'")
    with connect("test") as connection:
        sandbox.create(connection, "preview_ana", "a test")
    with pytest.raises(EraseError, match="nothing has come back"):
        forget("ann-0001")
    with connect("test") as connection:
        assert [use.sandbox.name for use in sandbox.all_of(connection)] == ["preview_ana"]


def test_sandboxes_that_a_killed_erasure_left_are_dropped_by_the_next(
    shop: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect("test") as connection:
        sandbox.create(connection, "preview_ana", "a test")
    with monkeypatch.context() as killed:
        killed.setattr(erasure, "_drop_sandboxes", lambda _: None)
        forget("ann-0001")
    assert forget("ann-0001").dropped == ("preview_ana",)


def test_sandboxes_that_a_killed_erasure_of_who_came_back_left_are_dropped_by_the_next(
    shop: Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forget("ann-0001")
    with shop.cursor() as cursor:
        cursor.execute("update raw.orders set user_id = 'ann-0001' where order_id = 'o1'")
    with connect("test") as connection:
        sandbox.create(connection, "preview_ana", "a test")
    with monkeypatch.context() as killed:
        killed.setattr(erasure, "_drop_sandboxes", lambda _: None)
        assert command.main(["--again"]) == 1
    assert capsys.readouterr().err.startswith("Erased again: 1.\n")
    assert command.main(["--again"]) == 0
    said = "Erased again: 0. Dropped, as they may have held who was erased: preview_ana. They can be built again.\n"
    assert capsys.readouterr().err == said
    assert ask(shop, "select nspname from pg_namespace where nspname ~ '^preview_'") == []


def test_while_a_run_is_under_way_it_is_refused(shop: Connection) -> None:
    lease.take(shop, "run 1")
    with pytest.raises(EraseError, match="run 1 is under way"):
        forget("ann-0001")


def test_killed_near_its_end_it_leaves_everything_as_it_was(shop: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(shop)

    def kill(cursor: psycopg2.extensions.cursor, *_: object) -> None:
        with shop.cursor() as other:
            other.execute("select pg_terminate_backend(%s)", (cursor.connection.info.backend_pid,))
        cursor.execute("select 1")
        raise AssertionError

    monkeypatch.setattr(erasure, "_look", kill)
    with pytest.raises(EraseError, match="Nothing was erased"):
        forget("ann-0001")
    assert everything(shop) == before
    monkeypatch.undo()
    forget("ann-0001")


def test_runs_and_loads_wait_for_it(shop: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []

    def look(*_: object) -> None:
        with connect("test") as other, other.cursor() as waiting:
            waiting.execute("set lock_timeout = '100ms'")
            try:
                lease.take(other, "run 2")
            except lease.LeaseHeldError:
                waited.append("run 2")

    monkeypatch.setattr(erasure, "_look", look)
    forget("ann-0001")
    assert waited == ["run 2"]


def test_an_erasure_does_not_look_as_if_the_clock_had_been_set_back(shop: Connection) -> None:
    def begin() -> bool:
        runs.begin(shop, "run 1", "release")
        return buffers.begin(shop, "run 1", overlap=timedelta(0))

    loaded(shop, SHOP | {"users": [row for row in SHOP["users"] if row["user_id"] != "ann-0001"]})
    for _ in range(2):
        begin()
        with shop.cursor() as cursor:
            buffers.published(cursor, "analytics_next", proven=True)
    assert ask(shop, "select count(*) from raw.deletions where key = 'ann-0001'") == [(1,)]
    forget("ann-0001")
    assert begin() is False
