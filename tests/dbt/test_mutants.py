"""`make mutants` says of a mutant what is so: one of each verdict, by the lines that it shows."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import pytest

from tests.dbt.conftest import KeptShop
from tests.dbt.days import Project
from tests.mutants import judge
from tests.mutants.change import Mutant
from tests.mutants.judge import Judge, all_mutants

pytestmark = [pytest.mark.db, pytest.mark.torture]

WITH_UNIT_TESTS = {
    "int_orders": {"orders.promo_id, orders.ordered_at as status,": judge.BROKEN},
    "dim_users": {"users.first_name, users.email as last_name,": judge.UNIT},
    "dim_days": {"as last_day from users union": judge.SAME},
    "fault_of": {"if kind != 'money' -%}": judge.LEFT_OUT},
    "keys_asked_for": {"where {{ key }} is null": judge.DAYS},
}
WITHOUT = {
    "dim_users": {
        "users.first_name, users.email as last_name,": judge.SURVIVED,
        "coalesce(user_orders.orders, 0) >= 3 as is_repeat_buyer": judge.DATA,
        "users.last_name, users.phone_number as email,": judge.RECOUNT,
    },
}


@pytest.fixture(scope="module")
def judged(shop: KeptShop, projects: Project, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """A judge."""
    return Judge(shop, projects, tmp_path_factory.mktemp("raw"))


def asked(judged: Judge, wanted: dict[str, dict[str, str]]) -> dict[Mutant, str]:
    """The mutants that become what is written of them, by what is wanted of each."""
    found = {}
    for node, lines in wanted.items():
        for line, verdict in lines.items():
            [mutant] = [
                one
                for one in all_mutants(judged.project.manifest)
                if one.node == node and one.shown(judged.texts[node]).endswith(line)
            ]
            found[mutant] = verdict
    return found


def test_each_verdict_is_given_to_what_deserves_it(judged: Judge):
    wanted = asked(judged, WITH_UNIT_TESTS)
    assert {one.mutant: one.became for one in judged.judge([*wanted])} == {
        mutant.name: verdict for mutant, verdict in wanted.items()
    }


def test_what_no_unit_test_notices_the_tests_of_data_may_or_a_recount_or_nothing(judged: Judge):
    wanted = asked(judged, WITHOUT)
    without = copy(judged)
    without.project = replace(judged.project, manifest=replace(judged.project.manifest, unit_tests={}))
    assert {one.mutant: one.became for one in without.judge([*wanted])} == {
        mutant.name: verdict for mutant, verdict in wanted.items()
    }
