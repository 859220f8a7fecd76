"""A warehouse day after day: what is loaded, what is built of it, and what is published, by the project's own code."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from graphlib import TopologicalSorter
from random import Random
from typing import Any

from dbt.artifacts.resources.types import NodeType
from dbt.contracts.graph.nodes import ModelNode

from include import raw, settings
from include.daily import buffers
from include.dbt_project.manifest import Manifest
from include.demo_shop import demo
from include.publish.publish import publish_run
from include.results import runs
from include.warehouse import connect, migrate
from tests.dbt.conftest import Dbt, KeptShop
from tests.dbt.edits import EDITS, deliver, replica

ORDERS_PER_DAY = 12
SCHEMAS = ("raw", "staging", "snapshots", "analytics", "analytics_next", "reference", "ops")
NOTHING_TO_PROVE = Manifest({}, {})
# The models that take changes, and what they read. The other marts are built in full each day, from these.
TAKING_CHANGES = ("+config.materialized:incremental", "path:snapshots")
EVERYTHING = ("path:models", "path:snapshots")
A_FEW = ("+fact_orders", "+order_status_changes", "path:snapshots")


class Project(Dbt):
    """A dbt project that can also tell what a full build of it would hold."""

    _full: dict[str, str] | None = None

    @cached_property
    def incremental(self) -> set[str]:
        """The names of the models that take what changed alone."""
        assert self.manifest
        return {
            node.name
            for node in self.manifest.nodes.values()
            if isinstance(node, ModelNode)
            and node.config.incremental_strategy == "replace_changed"
            and node.config.materialized == "incremental"
        }

    @cached_property
    def untested(self) -> Dbt:
        """The same without what no build of a model or a snapshot asks for, as tasks have it (`invocation.py`).

        dbt links and orders every node in each invocation, and nine in ten are tests.
        """
        assert self.manifest
        nodes = {key: node for key, node in self.manifest.nodes.items() if node.resource_type != NodeType.Test}
        others = ("unit_tests", "exposures", "metrics", "semantic_models", "saved_queries")
        unasked: dict[str, Any] = {kind: {} for kind in others}
        return Dbt(self.project, self.work, replace(self.manifest, nodes=nodes, **unasked))

    def full_build(self) -> dict[str, str]:
        """The SQL of each mart for a full build, in the order in which they can be built."""
        if self._full is None:
            done = self.untested.invoke("compile", "--full-refresh", "--select", "path:models")
            assert done.success, done.exception
            nodes = {
                result.node.unique_id: result.node
                for result in done.result.results
                if result.node.resource_type == NodeType.Model and result.node.schema == buffers.BUILT
            }
            order = TopologicalSorter({name: node.depends_on.nodes for name, node in nodes.items()}).static_order()
            self._full = {nodes[name].name: nodes[name].compiled_code for name in order if name in nodes}
        return self._full


class Days:
    """A warehouse day after day: what is loaded, built and published, and whether that is right.

    `models` is what a day builds: everything, or a selection that takes less time.
    """

    models: tuple[str, ...] = EVERYTHING

    def __init__(self, shop: KeptShop, project: Project, seed: int) -> None:
        self.shop, self.project, self.random = shop, project, Random(seed)  # noqa: S311 - no secret hangs on it
        self.runs, self.release = 0, "a release"
        self.overlap = timedelta(0)
        shop.come_to("a_first_day", self._begin_a_shop)
        migrate.upgrade()  # which sets what belongs to the database

    def _begin_a_shop(self) -> None:
        for schema in SCHEMAS:
            self.shop.query(f"drop schema if exists {schema} cascade")
        migrate.upgrade()
        self.load_a_day()

    def load_a_day(self) -> None:
        """The shop's next day, as it comes."""
        demo.play_day(self.shop.connection, demo.next_day(self.shop.connection), orders_per_day=ORDERS_PER_DAY)

    def edit(self, times: int = 12) -> None:
        """A day on which odd things happened."""
        tables = replica(self.shop.connection)
        for edit in self.random.choices(EDITS, k=times):
            edit(tables, self.random)
        deliver(self.shop.connection, tables)

    def begin(self, *, full_refresh: bool = False) -> bool:
        """A run begins; True if it builds everything anew."""
        self.runs += 1
        with connect() as connection:
            runs.begin(connection, f"run {self.runs}", self.release)
            return buffers.begin(connection, f"run {self.runs}", full_refresh=full_refresh, overlap=self.overlap)

    def build(self, *select: str) -> None:
        """Models and snapshots, by default all that a day builds."""
        viewed = self.shop.value("select count(*) from pg_views where schemaname = 'staging'") == len(raw.TABLES)
        statuses = self.project.untested(
            "build",
            *("--select", *(select or self.models)),
            # A view that is there stays what it is.
            *(("--exclude", "config.materialized:view") if viewed and "--exclude" not in select else ()),
        )
        assert set(statuses.values()) <= {"success", "no-op"}, statuses

    def publish(self) -> None:
        """Publish, and compare what is published with a full build."""
        left_out = self.shop.query(
            "select unique_id from ops.buffer_models join ops.buffers using (schema_oid)"
            " where schema_oid = 'analytics_next'::regnamespace and built_at < since and built_at <> '-infinity'"
        )
        assert publish_run(f"run {self.runs}", NOTHING_TO_PROVE)
        everything = self.models == Days.models
        differences = self.differences(None if everything else self.project.names("--select", *self.models))
        # What a replay might not show again: whether a model was not built, or built without what had changed.
        assert differences == {}, (
            f"not built by this run: {left_out}; up to when raw was followed: {self.followed()}; "
            f"what raw says of these rows: {self.stamped(differences)}"
        )

    def run(self, *, full_refresh: bool = False) -> set[str]:
        """A whole run; returns the incremental models that it built in full."""
        self.begin(full_refresh=full_refresh)
        self.build()
        self.publish()
        assert self.unseen() == []
        return self.rebuilt()

    def followed(self) -> list[tuple]:
        """By raw table, up to when each buffer has followed it, and when its newest rows were loaded."""
        return self.shop.query(
            "select source, schema_oid::regnamespace::text, loaded_at, newest from ops.watermarks left join"
            " (select table_name as source, max(loaded_at) as newest from raw.loads where rows > 0 group by 1"
            " union all select 'deletions', max(deleted_at) from raw.deletions) as loads"
            " using (source) order by 1, 2"
        )

    def stamped(self, differences: Mapping[str, Collection[tuple]]) -> list[tuple]:
        """By raw table and key of rows that differ, when it was loaded (True) or went (False)."""
        keys = sorted({str(value) for rows in differences.values() for row in rows for value in row if value})
        there = " union ".join(
            f"select '{table.name}', {table.key[0]}, true, _loaded_at from raw.{table.name}"
            for table in raw.TABLES.values()
        )
        return self.shop.query(
            f"with stamps (source, key, is_there, at) as ({there}"
            " union select table_name, key, false, deleted_at from raw.deletions)"
            " select * from stamps where split_part(key, '/', 1) = any(%s) order by at desc",
            keys,
        )

    def unseen(self) -> list[tuple]:
        """Orders that are otherwise than the snapshot's open version of them."""
        state = "order_id, status, tracking_id, shipping_service, estimated_delivery_at, delivered_at"
        return self.shop.query(
            f"select {state} from {settings.raw_schema()}.orders except"
            f" select {state} from snapshots.orders_snapshot where dbt_valid_to is null"
        )

    def rebuilt(self) -> set[str]:
        """The incremental models that the last published run built in full."""
        return {
            unique_id.split(".")[-1]
            for (unique_id,) in self.shop.query(
                "select unique_id from ops.buffer_models"
                " where schema_oid = to_regnamespace('analytics')::oid and rebuilt and checksum is not null"
            )
        }

    def two_full_runs(self) -> None:
        """The first two runs fill a buffer each."""

        def play() -> None:
            for _ in range(2):
                assert self.run() == self.project.incremental
                self.load_a_day()

        what = "_".join(re.findall(r"\w+", " ".join(self.models)))
        self.come_to(f"two_full_runs_{what:.30}", 2, play)

    def fill_both_buffers(self, of: str) -> None:
        """The first two runs of a selection of models, which is called `of`, without a look at what they publish."""

        def play() -> None:
            for _ in range(2):
                self.begin()
                self.build()
                publish_run(f"run {self.runs}", NOTHING_TO_PROVE)
                self.load_a_day()

        self.come_to(f"two_runs_of_{of}", 2, play)

    def come_to(self, name: str, runs: int, play: Callable[[], None]) -> None:
        """Come to where `play` leads, some runs later; from the first day that is done once, and then copied."""
        if self.runs:
            play()
            return
        self.shop.come_to(f"{name}_{int(self.overlap.total_seconds())}", play)
        migrate.upgrade()  # which sets what belongs to the database
        self.runs = runs

    def differences(self, marts: Container[str] | None = None, schema: str = "analytics") -> dict[str, list[tuple]]:
        """By mart, the first rows that are in a schema and shouldn't be ("-") or should be and aren't ("+").

        `marts` names those that are built, where these are not all.
        """
        found = {}
        self.shop.query("drop schema if exists reference cascade")
        self.shop.query("create schema reference")
        for name, statement in self.project.full_build().items():
            if marts is not None and name not in marts:
                continue
            statement = statement.replace('"analytics_next"', '"reference"')
            self.shop.query(f"create table reference.{name} (like analytics.{name})")
            columns = self.shop.value(
                "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute"
                f" where attrelid = 'reference.{name}'::regclass and attnum > 0"
            )
            # A contract puts the columns into the order of the YAML file.
            self.shop.query(f"insert into reference.{name} select {columns} from ({statement}) as built")
            rows = self.shop.query(
                f"(select '-', * from (table {schema}.{name} except all table reference.{name}) as wrong limit 3)"
                f" union all"
                f" (select '+', * from (table reference.{name} except all table {schema}.{name}) as lacking limit 3)"
            )
            if rows:
                found[name] = rows
        return found
