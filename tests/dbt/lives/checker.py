"""What has to hold after each step of a life, whatever was in it: looked at from outside, by queries of its own."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg2

from include.raw.contract import TABLES
from include.receipts import told
from include.results.publications import Publication, live
from include.warehouse import connect
from tests.dbt.conftest import KeptShop
from tests.dbt.edits import replica
from tests.dbt.lives.life import Cleared, Decided, Run, Step
from tests.meanwhile import meanwhile
from tests.waiting import wait_for

if TYPE_CHECKING:
    from tests.dbt.lives.player import Living

# In one statement, so of one moment: what cannot be where a mart of before stands beside one of after.
ACROSS = """
select
    (select count(*) from analytics.fact_orders) as fact_orders,
    (select count(*) from analytics.int_orders) as int_orders,
    (select count(*) from analytics.fact_orders join analytics.int_orders using (order_id, status, units)) as joined
"""
# By what is so of a run, how the first line of its message begins.
BEGINS = {"published": ("✅", "✋"), "failed": ("🔴",), "overtaken": ("ℹ️",)}
# How long who has ended may still be seen, in seconds.
PATIENCE = 10.0


class Broken(Exception):  # noqa: N818 - it is a rule that is
    """A rule does not hold: which, after which step, and what was seen."""

    def __init__(self, rule: str, where: str, why: str) -> None:
        super().__init__(f"{rule}: {where}: {why}")
        self.rule, self.where, self.why = rule, where, why


class Checker:
    """What it saw so far, and its rules."""

    def __init__(self, shop: KeptShop, living: Living) -> None:
        self.shop, self.living = shop, living
        self.contents: dict[int, list[tuple]] = {}
        # Of a run that built all and was not published: what it built, and how that differs from a full build.
        self.waiting: dict[str, tuple[list[tuple], dict[str, list[tuple]]]] = {}
        self.history: dict[str, tuple] = {}
        # By run and metric what its message told, and all that was ever told: metric, day, when, value.
        self.noted: dict[tuple[str, str], tuple] = {}
        self.figures: set[tuple] = set()
        self.last: Publication | None = None
        self.messages = len(living.slack.accepted)

    def begin(self) -> None:
        """What is there before the first step."""
        self.last = self._live()
        self.contents = {oid: self._content(name) for name, oid in self._buffers()}
        self.history = self._versions()
        self.schemas, self.threads, self.children = self._schemas(), threading.active_count(), self.living.processes()

    def check(self, step: Step) -> None:
        """All rules that ask what is there now."""
        self.what_is_published_was()
        self.no_history_shrinks()
        self.nothing_is_left_over()
        if isinstance(step, Run | Cleared | Decided):
            self.no_figure_lost_its_receipt()

    def waited(self, time: timedelta) -> None:
        """What was seen so far lies so much further back."""
        self.last, self.history = self._live(), self._versions()
        self.noted = {key: (metric, day, at - time, value) for key, (metric, day, at, value) in self.noted.items()}
        self.figures = {(metric, day, at - time, value) for metric, day, at, value in self.figures}

    def what_is_published_was(self) -> None:
        """People read what was published last; a new publication is right, as it comes."""
        now = self._live()
        content = self._content()
        if now.publication_id == self.last.publication_id:
            self.holds("what people query changes by a publish alone", content == self.contents[now.schema_oid], "")
            return
        if now.published_at == now.data_as_of:
            rule = "what is published is a full build of one moment of raw"
            if now.run_id in self.waiting:  # somebody published it by hand; raw may be another by now
                built, differs = self.waiting.pop(now.run_id)
                self.holds("what is published by hand is what was built", content == built, "")
            else:
                differs = self._differences(now.run_id, "analytics")
                if self.living.life.tested:
                    self._is_what_a_recount_says()
            self.holds(rule, not differs, f"{differs}"[:2000])
            self.contents[now.schema_oid] = content
        self.holds("a rollback brings back what was", content == self.contents[now.schema_oid], "")
        self.last = now

    def _differences(self, run_id: str, schema: str) -> dict[str, list[tuple]]:
        """How what a run built differs from a full build of raw as it is now."""
        names = {node["name"] for node in self.living.version_of(run_id).facts.nodes.values()}
        with self.living.of(run_id):
            differs = self.living.differences(names, schema)
        self.shop.query("drop schema reference cascade")
        return differs

    def _is_what_a_recount_says(self) -> None:
        """What the gate let through, counted in Python from raw alone."""
        raw = replica(self.shop.connection)
        units: dict[str | None, int] = defaultdict(int)
        for item in raw["order_items"]:
            units[item["order_id"]] += int(item["quantity"] or 0)
        keys = [order["order_id"] for order in raw["orders"]]
        rule = "the gate lets nothing through that a recount refutes"
        self.holds(rule, None not in keys and len(keys) == len(set(keys)), "an order without a key of its own")
        expected = sorted(
            (
                order["order_id"],
                order["user_id"],
                order["status"],
                Decimal(order["order_total"] or 0),
                units[order["order_id"]],
            )
            for order in raw["orders"]
        )
        found = self.shop.query(
            "select order_id, user_id, status, order_total, units from analytics.fact_orders order by order_id"
        )
        found = sorted((key, user, status, Decimal(total or 0), int(of or 0)) for key, user, status, total, of in found)
        wrong = [pair for pair in zip(expected, found, strict=False) if pair[0] != pair[1]][:3]
        self.holds(rule, expected == found, f"{len(expected)} orders in raw, {len(found)} published: {wrong}")
        negative = [one for one in found if one[3] < 0 or one[4] < 0]
        self.holds(rule, not negative, f"below zero: {negative[:3]}")
        users = {user["user_id"] for user in raw["users"]}
        strangers = [one for one in found if one[1] not in users]
        self.holds(rule, not strangers, f"orders of nobody: {strangers[:3]}")

    def no_history_shrinks(self) -> None:
        """No version of an order goes or changes, but that an open one is closed, once."""
        now = self._versions()
        lost = [
            (key, was, now.get(key))
            for key, was in self.history.items()
            if key not in now or now[key][:-1] != was[:-1] or was[-1] not in (None, now[key][-1])
        ]
        self.holds("no order's history shrinks", not lost, f"{lost[:3]}")
        self.history = now

    def no_figure_lost_its_receipt(self) -> None:
        """Each figure that a message told, now or after an earlier step, is told as it was then."""
        rule = "no figure told lost its receipt"
        noted = {
            (run, metric): (metric, day, at, value)
            for run, metric, day, at, value in self.shop.query(
                "select metrics.run_id, metric, day, published_at, value"
                " from ops.metrics join ops.publications using (publication_id)"
            )
        }
        self.holds(rule, noted.keys() >= self.noted.keys(), f"not noted any more: {self.noted.keys() - noted.keys()}")
        self.noted = noted
        self.figures |= {*noted.values()}
        with connect("a checker") as connection:
            for metric, day, at, value in self.figures:
                then = told.as_told(connection, metric, day, at)
                found = then and then.value
                self.holds(
                    rule,
                    then is not None and (found if found is None else float(found)) == value,
                    f"{metric} of {day} was told as {value} at {at}, and its receipt says {found}",
                )

    def nothing_is_left_over(self) -> None:
        """Between two steps nobody is at work: no lease, session, lock, schema, relation, thread or process."""
        rule = "nothing is left over"
        ours = self.shop.connection.info.backend_pid
        sessions = self._until_none(
            "select application_name, state, query from pg_stat_activity"
            f" where datname = '{self.shop.name}' and pid <> {ours} and backend_type = 'client backend'"
        )
        self.holds(rule, not sessions, f"sessions: {sessions[:3]}")
        held = self.shop.query("select holder, taken_at from ops.leases where released_at is null")
        self.holds(rule, not held, f"leases: {held}")
        # The database's own: another database's sessions are other people's.
        locks = self.shop.query(
            "select locktype, mode, pid from pg_locks join pg_database on pg_database.oid = database"
            f" where datname = '{self.shop.name}' and pid <> {ours} and locktype in ('relation', 'advisory')"
            " and pid in (select pid from pg_stat_activity where backend_type = 'client backend')"
        )
        self.holds(rule, not locks, f"locks: {locks[:3]}")
        schemas = self._schemas()
        self.holds(rule, schemas == self.schemas, f"schemas: {schemas ^ self.schemas}")
        made = self.shop.query(
            "select relnamespace::regnamespace::text, relname from pg_class"
            " where relname ~ '__dbt_(tmp|backup)' and relnamespace::regnamespace::text = 'analytics'"
        )
        self.holds(rule, not made, f"relations: {made}")
        with suppress(AssertionError):
            wait_for(lambda: not self._started(), "what a step started is over", PATIENCE)
        self.holds(rule, not (started := self._started()), f"threads and processes: {started}")

    def of_run(self, states: dict[str, str | None], tells: str) -> None:
        """The run that has just ended said one thing, once, and that is so."""
        rule = "every run ends in one message that says what is true"
        run_id, begun = self.living.run_id, self.living.begun
        now = self._live()
        [(own,)] = self.shop.query(
            "select max(published_at) from ops.publications where run_id = %s and published_at = data_as_of", run_id
        )
        is_live = own is not None and now.run_id == run_id
        failed = states["publish"] not in ("success", "skipped") or tells != "report"
        made_now = own is not None and own >= begun
        kind = "failed" if failed and not made_now else "published" if is_live else "overtaken"
        said = self.shop.query(
            "select audience, kind, waiting, sent_at is not null, headline, created_at from ops.messages"
            " where run_id = %s order by number",
            run_id,
        )
        self.holds(rule, bool(said) and said[-1][1] == kind, f"{kind} is so, and it said {said}")
        self.holds(rule, all(sent and not waits for _, _, waits, sent, _, _ in said), f"not sent: {said}")
        arrived = self.living.slack.accepted[self.messages :]
        self.messages = len(self.living.slack.accepted)
        headlines = [one["text"] for one in arrived]
        if getattr(self.living.fault, "task", None) == "report":
            # A webhook can't be asked whether it took what nobody noted: here alone a message may come twice.
            headlines = [*dict.fromkeys(headlines)]
        known = len(said) - self.living.said.get(run_id, 0)
        self.living.said[run_id] = len(said)
        self.holds(rule, len(headlines) == known, f"{known} messages are noted, and {headlines} arrived")
        self.holds(rule, known <= 1, f"{headlines} of one run")
        self.holds(
            rule, all(one.startswith(BEGINS[kind]) for one in headlines), f"{kind} is so, and it said {headlines}"
        )
        self.holds(rule, known == 1 or len(said) > 0, "no message")
        if known and tells == "report" and kind != "overtaken":
            self.mutes_are_over(run_id, json.dumps(arrived))
        self.waiting.clear()
        # By hand it may be published although a test of `history` failed, or that task died when all was built.
        if own is None and (states["transform"], states["snapshot"]) == ("success", "success"):
            self.waiting[run_id] = self._content("analytics_next"), self._differences(run_id, "analytics_next")

    def mutes_are_over(self, run_id: str, told: str) -> None:
        """Where a mute ran out since the run before and its test is still not well, the run's message says so."""
        over = self.shop.query(
            "select unique_id from ops.answers join ops.last_words using (unique_id) join ops.runs using (run_id)"
            " where answers.kind = 'mute' and run_id = %s and status in ('fail', 'warn') and until < current_date"
            " and until >= (select max(earlier.started_at)::date from ops.runs as earlier"
            " where earlier.started_at < runs.started_at)",
            run_id,
        )
        self.living.tally["mutes over"] += len(over)
        self.holds("a mute that is over is told", bool(over) == ("is over since" in told), f"{over}: {told}"[:2000])

    def decisions(self) -> int:
        """How many were taken and stand."""
        return self.shop.value("select count(*) from ops.decisions")

    def are_told(self, decisions: int) -> None:
        """Each decision says so, once."""
        arrived = [one["text"] for one in self.living.slack.accepted[self.messages :]]
        self.messages += len(arrived)
        self.holds("every decision is told", len(arrived) == decisions, f"{decisions} taken, and {arrived} arrived")

    def is_published(self, states: dict[str, str | None]) -> None:
        """A run that nothing disturbed is published, unless somebody holds it back."""
        held = self.shop.query(
            "select action from ops.decisions where action in ('hold', 'release') order by decision_id desc limit 1"
        )
        if held != [("hold",)]:
            why = self.shop.query(
                "select task_id, unique_id, status, message from ops.last_words where run_id = %s"
                " and status not in ('success', 'pass', 'no-op')",
                self.living.run_id,
            )
            self.holds("what nothing disturbs is published", states["publish"] == "success", f"{states}: {why[:5]}")

    def reader_saw(self, reader: Reader, *, server_went: bool = False) -> None:
        """Those who queried meanwhile noticed nothing, but that their server went."""
        self.living.tally["queries meanwhile"] += reader.queries
        wrong = reader.mixes if server_went else [*reader.mixes, *reader.errors]
        self.holds("no reader sees a mix or an error", not wrong, f"{wrong[:3]}")

    def holds(self, rule: str, what: bool, why: str) -> None:
        """Raise Broken unless it does."""
        if not what:
            raise Broken(rule, "", why)

    def raw(self) -> list[tuple]:
        """The raw tables, as a sum over each."""
        return [self._sum("raw", name) for name in (*TABLES, "deletions", "loads")]

    def _content(self, schema: str = "analytics") -> list[tuple]:
        """What people query, or what was before, as a sum over each mart."""
        names = self.shop.query("select tablename from pg_tables where schemaname = %s order by 1", schema)
        return [self._sum(schema, name) for (name,) in names]

    def _buffers(self) -> list[tuple[str, int]]:
        return self.shop.query("select nspname, oid from pg_namespace where nspname in ('analytics', 'analytics_next')")

    def _sum(self, schema: str, name: str) -> tuple:
        return (name, *self.shop.query(f"select count(*), sum(hashtextextended(m::text, 0)) from {schema}.{name} as m"))

    def _live(self) -> Publication:
        return live(self.shop.connection)

    def _versions(self) -> dict[str, tuple]:
        """The versions of orders, by their key; the last of each is when it was closed."""
        rows = self.shop.query(
            "select dbt_scd_id, order_id, status, tracking_id, delivered_at, dbt_valid_from, dbt_valid_to"
            " from snapshots.orders_snapshot"
        )
        return {key: tuple(row) for key, *row in rows}

    def _schemas(self) -> set[str]:
        return {
            name
            for (name,) in self.shop.query("select nspname from pg_namespace where nspname !~ '^pg_(toast_)?temp_'")
        }

    def _started(self) -> list[object]:
        """The threads, where there are more than before, and the processes, that were not there when the life began."""
        threads = threading.enumerate()
        return [*(threads if len(threads) > self.threads else ()), *(self.living.processes() - self.children)]

    def _until_none(self, query: str) -> list[tuple]:
        """The rows of a query, once there are none or patience is over."""
        with suppress(AssertionError):
            wait_for(lambda: not self.shop.query(query), "there are none", PATIENCE)
        return self.shop.query(query)


@dataclass
class Reader:
    """Who queried across marts: how often, and the mixes and errors that were seen."""

    queries: int = 0
    mixes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@contextmanager
def reading(shop: KeptShop, pause: float) -> Iterator[Reader]:
    """Somebody queries across marts all the while, ten times by each connection, with a pause in seconds."""
    reader, where = Reader(), shop.where.libpq()

    def reads(over: threading.Event) -> None:
        while not over.is_set():
            try:
                with closing(psycopg2.connect(**where)) as connection, connection.cursor() as cursor:
                    for _ in range(10):
                        if over.wait(pause):
                            break
                        cursor.execute(ACROSS)
                        seen = cursor.fetchone()
                        connection.commit()
                        reader.queries += 1
                        if len(set(seen)) > 1:
                            reader.mixes.append(f"{seen}")
            except psycopg2.Error as error:
                reader.errors.append(f"{type(error).__name__}: {error}")
                over.wait(pause)

    with meanwhile(reads):
        yield reader
