"""A small dbt project with a shop to build it in: published once, in a git repository, and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection

from include import raw
from include.daily import buffers
from include.dbt_project import manifest, release
from include.dbt_project.manifest import Manifest
from include.fast_cosmos.invocation import invoke
from include.local import postgres
from include.local.postgres import LocalPostgres
from include.preview import version
from include.preview.report import Kind, ModelChange, Plan
from include.preview.version import Version
from include.publish.exchange import exchange
from include.results import node_results, nodes, runs
from include.settings import PROJECT_ROOT, Warehouse
from include.warehouse import connect, roles
from include.warehouse.relation import Relation
from include.warehouse.sandbox import Sandbox
from tests.conftest import copy_database, copy_warehouse
from tests.forks import Forks, fork_dbt

PROJECT = """
name: small
profile: greenery
version: 1.0.0
models:
  +pre-hook: "{{ before_build() }}"
  +post-hook: "{{ after_build() }}"
  small:
    staging: {+schema: staging, +materialized: view}
    marts: {+materialized: table, +incremental_strategy: replace_changed, +on_schema_change: fail}
snapshots:
  +schema: snapshots
"""
FILES = {
    "dbt_project.yml": PROJECT,
    "models/staging/_sources.yml": """
sources: [{name: shop, schema: raw, tables: [{name: orders}, {name: promos}]}]
models: [{name: stg_orders, columns: [{name: order_id, data_tests: [unique]}]}]
""",
    "models/staging/stg_orders.sql": "select order_id, user_id, order_total from {{ source('shop', 'orders') }}",
    "models/staging/stg_promos.sql": "select promo_id from {{ source('shop', 'promos') }}",
    "models/marts/orders.sql": """
{{ config(materialized='incremental', meta={'key': 'order_id', 'follows': [{'of': 'stg_orders'}]}) }}
select order_id, user_id, order_total as paid from {{ ref('stg_orders') }} {{ only_changed() }}
""",
    "models/marts/buyers.sql": "select user_id, sum(paid) as paid from {{ ref('orders') }} group by user_id",
    "models/marts/richest.sql": "select max(paid) as paid from {{ ref('buyers') }}",
    "models/marts/promotions.sql": "select promo_id from {{ ref('stg_promos') }}",
    "models/marts/_marts.yml": """
models:
  - name: buyers
    columns: [{name: user_id, data_tests: [unique]}]
unit_tests:
  - name: what_a_buyer_paid_adds_up
    model: buyers
    given: [{input: ref('orders'), rows: [{user_id: ann, paid: 1}, {user_id: ann, paid: 2}]}]
    expect: {rows: [{user_id: ann, paid: 3}]}
""",
    "snapshots/_snapshots.yml": """
snapshots:
  - name: orders_kept
    relation: source('shop', 'orders')
    config: {strategy: check, check_cols: [order_total], unique_key: order_id}
""",
    # Reads a mart that a change of the buyers does not touch.
    "tests/more_buyers_than_promotions.sql": """
select 1 as one
where (select count(*) from {{ ref('buyers') }}) < (select count(*) from {{ ref('promotions') }})
""",
}


def write(folder: Path, files: Mapping[str, str]) -> None:
    """A project of these files, with Greenery's macros of a day."""
    shutil.copytree(PROJECT_ROOT / "dbt" / "macros" / "daily", folder / "macros" / "daily")
    shutil.copy(PROJECT_ROOT / "dbt" / "profiles.yml", folder)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.lstrip())


@dataclass(frozen=True)
class Home:
    """A project's folder and the database that its parses are of; each test gets both as they were kept.

    What was parsed once stays: the same text is never parsed again.
    """

    path: Path
    files: Mapping[str, str]
    server: LocalPostgres
    dbts: Forks

    @property
    def folder(self) -> Path:
        """The project."""
        return self.path / "dbt"

    @property
    def warehouse(self) -> Warehouse:
        """The database, as who may do anything."""
        return self.server.database(self.path.name)

    @contextmanager
    def entered(self, user: str | None = None) -> Iterator[None]:
        """The environment names project and database, as `user` and who develops; dbt parses in a fork."""
        named = self.warehouse.environment() | {
            "GREENERY_DBT_DIR": str(self.folder),
            "GREENERY_STATE_DIR": str(self.path / "state"),
            "WAREHOUSE_DEVELOPER_USER": roles.DEVELOPER,
        }
        if user:
            named["WAREHOUSE_USER"] = user
        with pytest.MonkeyPatch.context() as environment:
            fork_dbt(self.dbts, environment)
            for key, value in named.items():
                environment.setenv(key, value)
            yield

    def begin(self, migrated: str) -> None:
        """A migrated warehouse with raw tables and roles, and the project."""
        write(self.folder, self.files)
        copy_warehouse(self.server, migrated, self.path.name)
        with connect(where=self.warehouse) as connection:
            with connection.cursor() as cursor:
                raw.create(cursor)
            roles.ensure(connection, login=True)

    def keep(self) -> None:
        """Keep a copy of the database as it is now."""
        copy_database(self.server, self.path.name, f"{self.path.name}_kept")

    def go_back(self) -> None:
        """Make the database what was kept, and the project what it was."""
        name = self.path.name
        with postgres.admin(self.server) as cursor:
            cursor.execute(f'drop database "{name}" with (force)')
        copy_database(self.server, f"{name}_kept", name)
        with postgres.admin(self.server) as cursor:  # a copy has not what was granted on the database itself
            cursor.execute(f'grant create, temporary on database "{name}" to {roles.DEVELOPER}, {roles.TRANSFORMER}')
        for file, text in self.files.items():
            (self.folder / file).write_text(text.lstrip())


@dataclass(frozen=True)
class Previewed:
    """A project's folder, the sandboxes of `main` and of the folder, and sessions: who develops, and who may all."""

    folder: Path
    there: Sandbox
    here: Sandbox
    connection: Connection
    admin: Connection

    def versions(self) -> tuple[Version, Version]:
        """What `main` is, and the folder."""
        return version.both("main", self.here)

    def run(self, statement: str) -> None:
        """As who may do anything."""
        with self.admin.cursor() as cursor:
            cursor.execute(statement)

    def rows(self, relation: Relation, columns: str = "*") -> list[tuple]:
        """The rows of a relation, in an order of theirs."""
        with self.admin.cursor() as cursor:
            cursor.execute(f"select {columns} from {relation.schema}.{relation.name}")
            return sorted(cursor.fetchall())


def plan(facts: Manifest, *changed: str) -> Plan:
    """A plan of models that changed, by their names, with those downstream."""
    named = {facts.nodes[one]["name"]: one for one in facts.models}
    touched = {named[one] for one in changed}
    touched |= {below for one in touched for below in facts.downstream(one)} & facts.models
    return Plan(tuple(ModelChange(one, facts.title(one), Kind.CHANGED) for one in sorted(touched)))


def load() -> None:
    """The shop's first rows."""
    with connect() as connection, connection.cursor() as cursor:
        for order, user, total in (("o1", "ann", 10), ("o2", "ann", 5), ("o3", "bob", 7)):
            cursor.execute(
                "insert into raw.orders (order_id, user_id, order_total, _loaded_at)"
                " values (%s, %s, %s, clock_timestamp() - interval '1 hour')",
                (order, user, total),
            )
        cursor.execute("insert into raw.promos (promo_id, _loaded_at) values ('spring', clock_timestamp())")


def publish(run_id: str) -> None:
    """Build the project's folder and publish it, as the daily run does."""
    made = release.refresh()
    facts = manifest.read(made.manifest)
    with connect() as connection:
        runs.begin(connection, run_id, made.stamp)
        buffers.begin(connection, run_id)
    done = invoke(made, ["build"], tests=None, populate_cache=True)
    results = nodes.from_dbt(done.result.results)
    assert {one.status for one in results} <= {"success", "pass"}, results
    with connect() as connection:
        node_results.record(connection, run_id, "all", 1, results)
        buffer = buffers.current(connection)
    exchange(run_id, buffer, manifest=facts)
