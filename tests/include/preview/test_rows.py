"""What of a model's rows and columns a change makes otherwise, and the examples that are shown of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from psycopg2.extensions import connection as Connection

from include.preview import rows
from include.preview.report import ColumnChange, ColumnDiff, Example, Kind, ModelChange, RowsDiff
from include.warehouse.relation import Relation

pytestmark = pytest.mark.db

BEFORE, AFTER = Relation("here", "orders"), Relation("there", "orders")
ORDERS = ModelChange("model.shop.orders", "orders", Kind.CHANGED, key=("order_id",))


def compared(db: Connection, before: str, after: str, model: ModelChange = ORDERS) -> RowsDiff:
    """Compare two queries."""
    with db.cursor() as cursor:
        for relation, query in ((BEFORE, before), (AFTER, after)):
            cursor.execute(f"create schema if not exists {relation.schema}")
            cursor.execute(f"drop table if exists {relation.schema}.{relation.name}")
            cursor.execute(f"create table {relation.schema}.{relation.name} as {query}")
    return rows.compare(db, model, BEFORE, AFTER)


def values(*of: str, columns: str = "order_id, amount") -> str:
    return f"select * from (values {', '.join(of)}) as listed ({columns})"


def keyed(key: str, **of: object) -> ModelChange:
    return replace(ORDERS, key=tuple(key.split()), **of)


def test_rows_are_told_apart_by_the_key(db: Connection) -> None:
    found = compared(
        db,
        values("(1, 10, 'a')", "(2, 20, 'b')", "(3, 30, 'c')", "(4, null, 'd')", columns="order_id, amount, state"),
        values("(2, 20, 'b')", "(3, 31, 'c')", "(4, 40, 'D')", "(5, 50, 'e')", columns="order_id, amount, state"),
    )
    assert found == RowsDiff(
        "orders",
        ("order_id",),
        before=4,
        after=4,
        added=1,
        gone=1,
        changed=2,
        columns=(ColumnDiff("amount", 2), ColumnDiff("state", 1)),
        examples=(
            Example("3", {"amount": "30"}, {"amount": "31"}),
            Example("1", {"amount": "10", "state": "a"}, None),
            Example("5", None, {"amount": "50", "state": "e"}),
            Example("4", {"amount": None, "state": "d"}, {"amount": "40", "state": "D"}),
        ),
    )
    assert not found.is_same


def test_the_same_rows_in_another_order_are_the_same(db: Connection) -> None:
    found = compared(db, values("(1, 10)", "(2, null)"), values("(2, null)", "(1, 10)"))
    assert found == RowsDiff("orders", ("order_id",), before=2, after=2, added=0, gone=0, changed=0)
    assert found.is_same


def test_a_column_beside_all_that_was_there_is_only_added(db: Connection) -> None:
    found = compared(db, values("(1, 10)"), values("(1, 10, true)", columns="order_id, amount, is_gift"))
    assert found.added_columns == ("is_gift",)
    assert found.only_adds_columns


def test_doubled_rows_are_added_and_multiply_nothing(db: Connection) -> None:
    found = compared(db, values("(1, 10)", "(2, 20)"), values("(1, 10)", "(1, 10)", "(1, 10)", "(2, 20)", "(3, 30)"))
    assert (found.added, found.gone, found.changed, found.repeated) == (3, 0, 0, 1)


def test_a_key_that_was_repeated_before_is_not_counted_again(db: Connection) -> None:
    found = compared(db, values("(1, 10)", "(1, 10)", "(2, 20)"), values("(1, 10)", "(1, 11)", "(1, 12)", "(2, 20)"))
    assert (found.added, found.gone, found.changed, found.repeated) == (1, 0, 1, 0)


def test_a_key_that_is_null_is_a_key(db: Connection) -> None:
    found = compared(
        db,
        values("(1, 'x', 1)", "(null, 'x', 2)", "(null, null, 3)", "('1', null, 4)", columns="order_id, item, amount"),
        values("(1, 'x', 1)", "(null, 'x', 5)", "(null, null, 3)", "(1, '', 4)", columns="order_id, item, amount"),
        keyed("order_id item"),
    )
    assert (found.added, found.gone, found.changed) == (1, 1, 1)
    assert found.examples[0] == Example("null/x", {"amount": "2"}, {"amount": "5"})


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("0.1::float8 + 0.2::float8", "0.3::float8", 0),
        ("1::float8", "1.00001::float8", 1),
        ("1::float8", "null::float8", 1),
        ("'nan'::float8", "'nan'::float8", 0),
        ("'nan'::float8", "1::float8", 1),
        ("'infinity'::float8", "'-infinity'::float8", 1),
        ("-1e308::float8", "1e308::float8", 1),
        ("0.1::float4", "0.1::float8", 1),  # a float4 has seven digits
        ("1.10::numeric(9, 2)", "1.1::numeric", 0),
        ("1.0000000000001::numeric", "1::numeric", 1),
        ("1::int", "1::bigint", 0),
        ("(-2147483648)::int", "2147483647::int", 1),
        ("1::int", "1.5::float8", 1),
        ("'a'::varchar(3)", "'a'::text", 0),
        ("timestamptz '2026-01-01 00:00+00'", "date '2026-01-01'", 0),
        ("1::int", "'1'::text", 0),
        ("'{}'::json", "'{ }'::json", 1),
        ("'{}'::json", "'{}'::jsonb", 0),
        ("point '(1,1)'", "point '(1,1)'", 0),
        ("array[1, 2]", "array[1, 2, 3]", 1),
        ("array['{}'::json]", "array['{}'::json]", 0),
        ("int4range(1, 2)", "int4range(1, 3)", 1),
    ],
)
def test_values_are_compared_as_what_they_mean(db: Connection, before: str, after: str, changed: int) -> None:
    found = compared(db, f"select 1 as order_id, {before} as amount", f"select 1 as order_id, {after} as amount")
    assert (found.changed, found.added, found.gone) == (changed, 0, 0)
    found = compared(db, f"select {before} as amount", f"select {after} as amount", keyed(""))
    assert (found.gone, found.added) == (changed, changed)


def test_large_floats_may_differ_by_a_billionth_of_theirs(db: Connection) -> None:
    query = "select 1 as order_id, 1e12::float8 + {} as amount"
    assert compared(db, query.format(0), query.format(1)).is_same
    assert compared(db, query.format(0), query.format(10_000)).changed == 1


def test_a_column_of_another_type_is_named_with_both(db: Connection) -> None:
    found = compared(db, "select 1 as order_id, 1.5::numeric(5, 2) as amount", "select 1 as order_id, 1.5 as amount")
    assert found.retyped == (ColumnChange("amount", "numeric(5,2)", "numeric"),)
    assert found.changed == 0


def test_a_column_whose_values_stand_under_another_name_is_renamed(db: Connection) -> None:
    found = compared(
        db,
        values("(1, 10, 7, null::int, 1)", "(2, 20, 8, null, 2)", columns="order_id, amount, units, empty, off"),
        values("(1, 10, 7, null::int, 1)", "(3, 30, 9, null, 3)", columns="order_id, total, pieces, hollow, on_"),
    )
    assert set(found.renamed) == {("amount", "total"), ("units", "pieces"), ("off", "on_")}
    assert (found.gone_columns, found.added_columns) == (("empty",), ("hollow",))


def test_a_column_that_holds_something_else_is_not_renamed(db: Connection) -> None:
    found = compared(db, values("(1, 10)", "(2, 20)"), values("(1, 10)", "(2, 21)", columns="order_id, total"))
    assert (found.renamed, found.gone_columns, found.added_columns) == ((), ("amount",), ("total",))
    found = compared(db, values("(1, 10)"), values("(1, 10.0)", columns="order_id, total"))
    assert found.renamed == ()


def test_of_two_columns_that_hold_the_same_the_one_with_the_like_name_is_meant(db: Connection) -> None:
    found = compared(
        db,
        values("(1, true, true)", columns="order_id, is_late, is_paid"),
        values("(1, true, true)", columns="order_id, is_paid_for, is_late_now"),
    )
    assert set(found.renamed) == {("is_late", "is_late_now"), ("is_paid", "is_paid_for")}


@pytest.mark.parametrize("key", ["order_id item", "order_key item"])
def test_a_renamed_column_of_the_key_still_tells_rows_apart(db: Connection, key: str) -> None:
    found = compared(
        db,
        values("('a', 1, 10)", "('b', 1, 20)", "('c', 1, 30)", columns="order_id, item, amount"),
        values("('a', 1, 10)", "('b', 1, 21)", "('d', 1, 40)", columns="order_key, item, amount"),
        keyed(key),
    )
    assert found.renamed == (("order_id", "order_key"),)
    assert found.key == ("order_key", "item")
    assert (found.added, found.gone, found.changed) == (1, 1, 1)
    assert (found.gone_columns, found.added_columns) == ((), ())


def test_a_key_of_other_values_is_no_renamed_one_and_whole_rows_are_compared(db: Connection) -> None:
    found = compared(
        db,
        values("('a', 10)", "('b', 20)", "('b', 20)"),
        values("('x', 10)", "('y', 20)", columns="order_key, amount"),
    )
    assert found.key == ()
    assert (found.gone_columns, found.added_columns) == (("order_id",), ("order_key",))
    assert (found.gone, found.added, found.changed) == (1, 0, 0)


def test_without_a_key_rows_are_counted_as_wholes(db: Connection) -> None:
    found = compared(
        db, values("(1, null)", "(1, null)", "(2, 20)"), values("(1, null)", "(2, 21)", "(2, 21)"), keyed("")
    )
    assert found == RowsDiff(
        "orders",
        (),
        before=3,
        after=3,
        added=2,
        gone=2,
        changed=0,
        examples=(
            Example("row 1", {"order_id": "1", "amount": None}, None),
            Example("row 2", None, {"order_id": "2", "amount": "21"}),
            Example("row 3", {"order_id": "2", "amount": "20"}, None),
        ),
    )


def test_without_a_column_in_common_all_rows_are_others(db: Connection) -> None:
    found = compared(db, "select 1 as a from generate_series(1, 3)", "select 'x' as b", keyed(""))
    assert (found.before, found.after, found.gone, found.added, found.examples) == (3, 1, 3, 1, ())


def test_a_model_that_is_on_one_side_alone_has_all_its_rows_there(db: Connection) -> None:
    compared(db, values("(1, 10)", "(2, 20)"), values("(1, 10)"))
    nowhere = Relation("there", "nowhere")
    gone = rows.compare(db, ORDERS, BEFORE, nowhere)
    assert (gone.before, gone.after, gone.gone, gone.gone_columns) == (2, 0, 2, ("order_id", "amount"))
    new = rows.compare(db, ORDERS, Relation("not even", "a schema"), BEFORE)
    assert (new.before, new.after, new.added, new.added_columns) == (0, 2, 2, ("order_id", "amount"))
    assert rows.compare(db, ORDERS, nowhere, nowhere).is_same


def test_the_largest_changes_of_a_number_are_the_examples(db: Connection) -> None:
    query = "select nth as order_id, 'x' as state, {} as amount from generate_series(1, 100) as nth"
    found = compared(db, query.format("0"), query.format("case nth when 40 then -900 when 60 then 800 else nth end"))
    assert [example.key for example in found.examples] == ["40", "60", "100", "99", "98"]
    assert all(example.before == {"amount": "0"} for example in found.examples)
    assert found.columns == (ColumnDiff("amount", 100),)


@pytest.mark.parametrize("personal", [("email",), ("email", "order_id")])
def test_nothing_personal_is_shown(db: Connection, personal: tuple[str, ...]) -> None:
    columns = "order_id, email, amount"
    before = values("('anna', 'an@b', 1)", "('ben', 'be@b', 2)", "('cat', 'ca@b', 3)", columns=columns)
    after = values("('anna', 'an@c', 1)", "('ben', 'be@c', 3)", "('dan', 'da@b', 3)", columns=columns)
    secrets = ["@", *(["anna", "ben", "cat", "dan"] if "order_id" in personal else [])]
    for key in ("order_id", ""):
        found = compared(db, before, after, keyed(key, personal=personal))
        assert len(found.examples) >= 3
        assert not [secret for secret in secrets if secret in str(found.examples)]
    found = compared(db, before, after, keyed("order_id", personal=personal))
    assert found.columns == (ColumnDiff("email", 2), ColumnDiff("amount", 1))
    assert found.examples[0] == Example("row 1" if "order_id" in personal else "ben", {"amount": "2"}, {"amount": "3"})


def test_of_a_row_that_is_new_some_columns_are_shown(db: Connection) -> None:
    columns = "order_id, " + ", ".join(f"c{nth}" for nth in range(20))
    row = ", ".join(str(nth) for nth in range(20))
    found = compared(db, values(f"(1, {row})", columns=columns), values(f"(2, {row})", columns=columns))
    assert [list(example.before or example.after) for example in found.examples] == [[f"c{n}" for n in range(6)]] * 2


def test_values_are_cut_and_speak_to_no_terminal(db: Connection) -> None:
    found = compared(db, values("(E'a\\nb', repeat('x', 1000))"), values("(E'a\\nb', E'\\x1b[31m\\u202ered')"))
    assert found.examples == (Example("a b", {"amount": "x" * 79 + "…"}, {"amount": " [31m red"}),)


def test_names_are_names_and_nothing_else(db: Connection) -> None:
    odd = '"; drop table x; --%s {}"'
    found = compared(
        db,
        f'select 1 as {odd}, 2 as "%", 3 as "a""b"',
        f'select 1 as {odd}, 3 as "%", 3 as "a""b"',
        replace(ORDERS, key=("; drop table x; --%s {}",)),
    )
    assert found.columns == (ColumnDiff("%", 1),)


def test_more_columns_than_a_function_takes_arguments_are_compared(db: Connection) -> None:
    columns = "order_id, " + ", ".join(f"c{nth}" for nth in range(200))
    sides = [f"(1, {', '.join(str(nth + more) for nth in range(200))})" for more in (0, 1)]
    found = compared(db, values(sides[0], columns=columns), values(sides[1], columns=columns))
    assert (found.changed, len(found.columns)) == (1, 200)
