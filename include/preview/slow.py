"""What changed models cost on an ordinary day, found by living through one in the sandbox, and whether it ends right.

A model that takes changes is built as of the evening before the newest loads, and then takes what came since, by the
macros that do so in production. Postgres' plans say what that read; a full build says whether anything is otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from psycopg2 import sql
from psycopg2.errors import QueryCanceled
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include import raw
from include.dbt_project import follows
from include.dbt_project.manifest import Manifest
from include.preview import query_plan
from include.preview.build import BuildError, Built, run_dbt
from include.preview.progress import Progress
from include.preview.report import Kind, ModelChange, Plan, SlowModel
from include.preview.version import Version, built_as
from include.raw.contract import TABLES
from include.results.nodes import NodeResult
from include.warehouse import exists
from include.warehouse.relation import Relation, columns
from include.warehouse.sandbox import Sandbox

# What dbt's macros remember of the schema that is built in, as production has it (`include.daily.buffers`).
_REMEMBERED = ("buffers", "buffer_models", "watermarks")
log = logging.getLogger(__name__)


def look(
    connection: Connection,
    new: Version,
    sandbox: Sandbox,
    plan: Plan,
    built: Built,
    old: Version,
    progress: Progress,
) -> tuple[SlowModel, ...]:
    """What each model that is new or changed costs on an ordinary day, in the order of the plan.

    Of a model that takes changes always; of one that is built in full each day where it reads a long table from end to
    end that its `old` state did not read. `built` is what the preview built in the sandbox, which in the end is as it
    was. `connection` is committed.
    """
    touched = [one for one in plan.models if one.kind in (Kind.NEW, Kind.CHANGED) and one.unique_id in built.relations]
    taking = [one.unique_id for one in touched if follows.takes_changes(new.facts.nodes[one.unique_id])]
    with _autocommit(connection), connection.cursor() as cursor:
        found = {one.unique_id: told for one in touched if (told := _in_full(cursor, one, old, built))}
        if taking and (since := _the_day_before(cursor)):
            found |= _Day(cursor, new, sandbox, built, taking, since).live_through(progress)
    return tuple(found[one.unique_id] for one in touched if one.unique_id in found)


@contextmanager
def _autocommit(connection: Connection) -> Iterator[None]:
    """Let what dbt has to see be there for it, and no lock of ours be in its way."""
    connection.commit()
    usual, connection.autocommit = connection.autocommit, True
    try:
        yield
    finally:
        connection.autocommit = usual


def _in_full(cursor: Cursor, model: ModelChange, old: Version, built: Built) -> SlowModel | None:
    """A table that reads, from end to end and every day, what its old state did not read; None for any other."""
    if model.materialized != "table" or not model.is_mart:
        return None
    result = built.results.get(model.unique_id)
    statement = result.compiled_sql if result else None
    if not statement:
        return None
    cursor.execute(f"explain (verbose, format json) {statement}")
    [[explained]] = cursor.fetchall()
    before = _names_read(old.facts, model.unique_id)
    whole = {
        relation: int(rows)
        for relation, rows in _rows(cursor, query_plan.whole(explained)).items()
        if rows > query_plan.FEW_ROWS and relation.name not in before
    }
    if not whole:
        return None
    seconds = built.costs[model.unique_id].seconds or 0.0 if model.unique_id in built.costs else 0.0
    return SlowModel(model.name, seconds, 10 * seconds, _told(whole))


def _names_read(facts: Manifest, unique_id: str) -> set[str]:
    """What a model reads, directly or through views, by its name in the database."""
    names, left = set(), list(facts.parents(unique_id))
    while left:
        one = left.pop()
        node = facts.nodes.get(one) or facts.sources[one]
        names.add(node.get("alias") or node.get("identifier") or node["name"])
        if node.get("config", {}).get("materialized") == "view":
            left += facts.parents(one)
    return names


def _the_day_before(cursor: Cursor) -> datetime | None:
    """Up to when rows are older than the day of the newest load; None where raw holds no such day yet.

    What a shop begins with is no day, however late it came.
    """
    stamps = sql.SQL(" union all ").join(
        sql.SQL(
            "select min(_loaded_at), max(_loaded_at) filter (where _loaded_at <= statement_timestamp()) from {}"
        ).format(raw.named(name))
        for name in TABLES
        if raw.exists(cursor, name)
    )
    cursor.execute(sql.SQL("select min(oldest), max(newest) from ({}) as told (oldest, newest)").format(stamps))
    oldest, newest = cursor.fetchone()
    since = max(oldest, newest - timedelta(days=1)) if newest else None
    return since if since and since < newest else None


class _Day:
    """A day of some models in the sandbox; `since` is up to when the evening before it has seen raw."""

    def __init__(
        self,
        cursor: Cursor,
        version: Version,
        sandbox: Sandbox,
        built: Built,
        models: Sequence[str],
        since: datetime,
    ) -> None:
        self.cursor, self.version, self.sandbox, self.models, self.since = cursor, version, sandbox, models, since
        facts = version.facts
        lineage = {one for model in models for one in (model, *facts.upstream(model))}
        self.tables = [one for one in facts.drawn if one in lineage and _kind(facts, one) not in ("view", "ephemeral")]
        self.views = [one for one in facts.drawn if one in lineage and _kind(facts, one) == "view"]
        self.elsewhere = {
            one: relation
            for one, relation in built.relations.items()
            if one not in (*self.tables, *self.views) and relation.schema not in sandbox.schemas
        }

    def live_through(self, progress: Progress) -> dict[str, SlowModel]:
        """Build the models, and those that they descend from, as of the evening before; let them take the day."""
        with self._room():
            try:
                # Of models that are read where they are published. A view that is there stays, with what stands on it.
                if lacking := [one for one in self.views if not exists(self.cursor, self._name(one))]:
                    self._run(lacking, progress)
                with self._evening():
                    evening = self._run(self.tables, progress)
                self._begin_the_day()
                day = self._run(self.tables, progress)
                return {one: self._told(one, day[one], evening[one]) for one in self.models}
            except (BuildError, QueryCanceled) as error:  # all else that was found is worth telling
                log.warning("No ordinary day of what changed was lived through: %s", error)
                return {}

    def _run(self, nodes: Collection[str], progress: Progress) -> Mapping[str, NodeResult]:
        results = run_dbt(self.version, ["run"], nodes, (), (), self.elsewhere, progress)
        if failed := [one for one in results.values() if one.status != "success"]:
            raise BuildError(f"{failed[0].name} can't be built: {failed[0].message}")
        return results

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Keep what the preview built of the same tables out of the way, and what dbt's macros remember in."""
        tables = {self._table(one) for one in self.tables}
        ops, aside = self.sandbox.ops, self.sandbox.snapshots
        self.cursor.execute(
            "select nspname, relname from pg_class join pg_namespace on pg_namespace.oid = relnamespace"
            " where nspname = any(%s)",
            (list(self.sandbox.schemas),),
        )
        kept = sorted(tables & {Relation(*names) for names in self.cursor.fetchall()})
        for table in kept:
            self._execute("alter table {} set schema {}", table.sql, sql.Identifier(aside))
        try:
            for name in _REMEMBERED:
                self._execute("drop table if exists {}", Relation(ops, name).sql)
                self._execute(
                    "create table {} (like {} including all)", Relation(ops, name).sql, Relation("ops", name).sql
                )
            self._execute(
                "create table {} (unique_id text, asked text, keys bigint, done json, looked_up json)",
                Relation(ops, "plans").sql,
            )
            self.cursor.execute(
                sql.SQL(
                    "insert into {} (schema_oid, run_id, since, rebuild, scan)"
                    " values (to_regnamespace(%s)::oid, 'a preview', clock_timestamp(), true, false)"
                ).format(Relation(ops, "buffers").sql),
                (self.sandbox.marts,),
            )
            yield
        finally:
            for name in (*_REMEMBERED, "plans"):
                self._execute("drop table if exists {}", Relation(ops, name).sql)
            for table in tables:
                changes = Relation(self.sandbox.staging, f"{table.name}__changes")
                self._execute("drop table if exists {}, {}", table.sql, changes.sql)
            for table in kept:
                self._execute(
                    "alter table {} set schema {}", Relation(aside, table.name).sql, sql.Identifier(table.schema)
                )

    def _name(self, model: str) -> str:
        return self._table(model).sql.as_string(self.cursor)

    def _table(self, model: str) -> Relation:
        return built_as(self.version.facts, model)

    @contextmanager
    def _evening(self) -> Iterator[None]:
        """Let the sandbox's staging views show what was loaded by the evening before."""
        self.cursor.execute(
            """
            select relname, pg_get_viewdef(views.oid)
            from pg_class as views
            join pg_attribute on attrelid = views.oid and attname = '_loaded_at'
            where relkind = 'v' and relnamespace = to_regnamespace(%s)
            """,
            (self.sandbox.staging,),
        )
        views = [(Relation(self.sandbox.staging, name), text.rstrip(";")) for name, text in self.cursor.fetchall()]
        try:
            for view, text in views:
                earlier = sql.SQL("select * from ({}) as today where _loaded_at <= {}")
                self._execute(
                    "create or replace view {} as {}",
                    view.sql,
                    earlier.format(sql.SQL(text), sql.Literal(self.since)),
                )
            yield
        finally:
            for view, text in views:
                self._execute("create or replace view {} as {}", view.sql, sql.SQL(text))

    def _begin_the_day(self) -> None:
        """Note what `include.daily.buffers` does as a buffer is published, for the evening before."""
        ops = self.sandbox.ops
        self._execute(
            "update {} set since = clock_timestamp(), rebuild = false, dirty = false", Relation(ops, "buffers").sql
        )
        self.cursor.execute(
            sql.SQL("update {} set built_at = %s, written = false").format(Relation(ops, "buffer_models").sql),
            (self.since,),
        )
        self.cursor.execute(
            sql.SQL(
                "insert into {} (schema_oid, source, loaded_at, pending)"
                " select schema_oid, source, %s, %s from {} cross join unnest(%s) as source"
            ).format(Relation(ops, "watermarks").sql, Relation(ops, "buffers").sql),
            (self.since, self.since, [*TABLES, "deletions"]),
        )

    def _told(self, model: str, day: NodeResult, evening: NodeResult) -> SlowModel:
        self.cursor.execute(
            sql.SQL("select asked, keys, done, looked_up from {} where unique_id = %s order by asked").format(
                Relation(self.sandbox.ops, "plans").sql
            ),
            (model,),
        )
        noted = self.cursor.fetchall()
        rows = _rows(self.cursor, {relation for _, _, done, _ in noted for relation in query_plan.relations(done)})
        plans = {asked: query_plan.read(done, looked_up, rows, keys) for asked, keys, done, looked_up in noted}
        explaining = sum(one.seconds for one in plans.values())  # which was done for the plans alone
        seconds = max(day.seconds - explaining, 0.0)
        lines = [line for asked, one in plans.items() if one.whole for line in (f"{asked}:", *one.lines)]
        return SlowModel(
            name=self.version.facts.nodes[model]["name"],
            seconds=seconds,
            seconds_at_ten=seconds + 9 * sum(one.growing for one in plans.values()),
            whole=_told({relation: count for one in plans.values() for relation, count in one.whole.items()}),
            plan="\n".join(lines),
            differs=self._differs(model, evening),
        )

    def _differs(self, model: str, evening: NodeResult) -> int:
        """Rows that the day left otherwise than a full build of the same makes them.

        Of a model that ignores what it reads nobody can say: its rows depend on the day on which they came.
        """
        node = self.version.facts.nodes[model]
        if node["config"]["meta"].get("ignores") or not evening.compiled_sql:
            return 0
        table = self._table(model)
        if self._is_as(table, Relation(self.sandbox.snapshots, table.name)):
            return 0
        # Or else what it reads was published with rows of former days that no full build makes.
        full = Relation(self.sandbox.ops, f"{table.name}__full"[:63])
        self._execute("create table {} (like {})", full.sql, table.sql)
        try:
            built = sql.SQL(evening.compiled_sql)
            listed = columns(self.cursor, table)
            self._execute("insert into {} ({}) select {} from ({}) as built", full.sql, listed, listed, built)
            self._execute(
                "select greatest("
                "(select count(*) from (table {table} except all table {full}) as wrong),"
                " (select count(*) from (table {full} except all table {table}) as lacking))",
                table=table.sql,
                full=full.sql,
            )
            return self.cursor.fetchone()[0]
        finally:
            self._execute("drop table {}", full.sql)

    def _is_as(self, table: Relation, aside: Relation) -> bool:
        """Whether a table has the rows that the preview's own full build of it has, which is kept aside."""
        if not exists(self.cursor, aside.sql.as_string(self.cursor)):
            return False
        self._execute(
            "select (select count(*) from {table}) = (select count(*) from {aside})"
            " and not exists (table {table} except all table {aside})",
            table=table.sql,
            aside=aside.sql,
        )
        return self.cursor.fetchone()[0]

    def _execute(self, statement: str, *parts: sql.Composable, **named: sql.Composable) -> None:
        self.cursor.execute(sql.SQL(statement).format(*parts, **named))


def _kind(facts: Manifest, unique_id: str) -> str:
    return facts.nodes[unique_id]["config"]["materialized"]


def _rows(cursor: Cursor, relations: Collection[Relation]) -> dict[Relation, float]:
    """How many rows each of these has, as Postgres last counted."""
    cursor.execute(
        """
        select nspname, relname, reltuples
        from pg_class
        join pg_namespace on pg_namespace.oid = relnamespace
        join unnest(%s::text[], %s::text[]) as asked (schema, name) on nspname = asked.schema and relname = asked.name
        """,
        ([one.schema for one in relations], [one.name for one in relations]),
    )
    return {Relation(schema, name): max(rows, 0.0) for schema, name, rows in cursor.fetchall()}


def _told(whole: Mapping[Relation, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(((relation.name, rows) for relation, rows in whole.items()), key=lambda one: (-one[1], one[0])))
