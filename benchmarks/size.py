"""What a full build and an ordinary day cost by the size of the history: `make bench`.

Plays the demo shop into a Postgres of its own, as a shop that loads once a day; beyond a million events what was played
is copied into the past. When the history has grown to one of the sizes asked for, everything is built in full, twice
(there are two buffers; the second time without tests, and not told). Then days follow as a run has them: load, source
tests, models that take changes alone with their tests, snapshots, publish. The fastest of those days that follow a run
into the same buffer is told, since other work on the machine only makes one slower. On one more day all that once a
week reads all of history does so at once: how much of it each day of a week has follows from its names.

    python -m benchmarks.size --events 100000 1000000 10000000
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg2
from dbt.cli.main import dbtRunner

from benchmarks import folder
from benchmarks.processes import Processes, watching
from include.daily import buffers
from include.dbt_project.manifest import Manifest, read
from include.demo_shop import demo
from include.local import postgres
from include.local.progress import Progress
from include.publish.publish import publish_run
from include.results import runs
from include.settings import BUILT, PROJECT_ROOT
from include.unusual import observe
from include.warehouse import connect, migrate

PROJECT = PROJECT_ROOT / "dbt"
NOTHING_TO_PROVE = Manifest({}, {})
DAYS_AFTER = 4
SERVER = {"shared_buffers": "1GB", "max_wal_size": "8GB", "fsync": "off", "synchronous_commit": "off"}
STEPS = {
    "sources": ("test", "--selector", "sources"),
    "transform": ("build", "--selector", "transform"),
    "snapshot": ("build", "--selector", "snapshot"),
    "history": ("build", "--select", "path:snapshots+", "--exclude", "path:snapshots", "test_type:unit"),
}
BUILDS = {step: command for step, command in STEPS.items() if command[0] == "build"}
UNTESTED = {step: (*command, "--exclude-resource-type", "test") for step, command in BUILDS.items()}
# What publish does of all that before it publishes.
OBSERVE = "observe"

# What the snapshot would have recorded, had a run followed each load of the history.
CLOSE_VERSIONS = """
update snapshots.products_snapshot as held set dbt_valid_to = product._loaded_at at time zone 'UTC'
from raw.products as product
where held.product_id = product.product_id and held.dbt_valid_to is null
    and (held.price, held.inventory) is distinct from (product.price, product.inventory)
"""
OPEN_VERSIONS = """
insert into snapshots.products_snapshot (
    product_id, name, price, inventory, _loaded_at, dbt_scd_id, dbt_updated_at, dbt_valid_from
)
select product_id, name, price, inventory, at, md5(product_id || at), at, at
from (select *, _loaded_at at time zone 'UTC' as at from raw.products) as product
where not exists (
    select from snapshots.products_snapshot as held
    where held.product_id = product.product_id and held.dbt_valid_to is null
)
"""
# How many events are played; a longer history is what came before them, copied (`COPY_HISTORY`).
PLAYED = 1_000_000
# The {days} days from {begin} on, of which each order has been delivered, again and again in the days before them:
# other users with other orders, as busy, and at the same prices. What a copy is called ends in its number.
COPY_HISTORY = """
create temporary table kept_orders as
select order_id, user_id, address_id from raw.orders where created_at >= '{begin}' and created_at < '{until}';
create temporary table kept_sessions as
select session_id, min(user_id) as user_id from raw.events
group by session_id
having
    min(created_at) >= '{begin}' and min(created_at) < '{until}'
    and bool_and(order_id is null or order_id in (select order_id from kept_orders));
-- Some have signed up before the shop began to be played.
create temporary table kept_users as
select user_id from kept_orders union select user_id from kept_sessions;
create temporary table kept_addresses as
select address_id from raw.users join kept_users using (user_id) union select address_id from kept_orders;
analyze kept_users, kept_orders, kept_sessions, kept_addresses;

insert into raw.addresses (address_id, address, zipcode, state, country, _loaded_at)
select address_id || '-' || nr, address, zipcode, state, country, _loaded_at - nr * interval '{days} days'
from raw.addresses cross join generate_series({first}, {last}) as nr
where address_id in (select address_id from kept_addresses);

insert into raw.users (
    user_id, first_name, last_name, email, phone_number, created_at, updated_at, address_id, _loaded_at
)
select
    user_id || '-' || nr, first_name, last_name, email, phone_number, created_at - nr * interval '{days} days',
    updated_at - nr * interval '{days} days', address_id || '-' || nr, _loaded_at - nr * interval '{days} days'
from raw.users cross join generate_series({first}, {last}) as nr
where user_id in (select user_id from kept_users);

insert into raw.orders (
    order_id, user_id, promo_id, address_id, created_at, order_cost, shipping_cost, order_total, tracking_id,
    shipping_service, estimated_delivery_at, delivered_at, status, _loaded_at
)
select
    order_id || '-' || nr, user_id || '-' || nr, promo_id, address_id || '-' || nr,
    created_at - nr * interval '{days} days', order_cost, shipping_cost, order_total, tracking_id, shipping_service,
    estimated_delivery_at - nr * interval '{days} days', delivered_at - nr * interval '{days} days', status,
    _loaded_at - nr * interval '{days} days'
from raw.orders cross join generate_series({first}, {last}) as nr
where order_id in (select order_id from kept_orders);

insert into raw.order_items (order_id, product_id, quantity, _loaded_at)
select order_id || '-' || nr, product_id, quantity, _loaded_at - nr * interval '{days} days'
from raw.order_items cross join generate_series({first}, {last}) as nr
where order_id in (select order_id from kept_orders);

insert into raw.events (
    event_id, session_id, user_id, page_url, created_at, event_type, order_id, product_id, _loaded_at
)
select
    event_id || '-' || nr, session_id || '-' || nr, user_id || '-' || nr, page_url,
    created_at - nr * interval '{days} days', event_type, order_id || '-' || nr, product_id,
    _loaded_at - nr * interval '{days} days'
from raw.events cross join generate_series({first}, {last}) as nr
where session_id in (select session_id from kept_sessions);

insert into snapshots.products_snapshot (
    product_id, name, price, inventory, _loaded_at, dbt_scd_id, dbt_updated_at, dbt_valid_from, dbt_valid_to
)
select
    product_id, name, price, inventory, _loaded_at - nr * interval '{days} days', md5(dbt_scd_id || nr),
    begins - nr * interval '{days} days', begins - nr * interval '{days} days', ends - nr * interval '{days} days'
from (
    select
        *,
        -- The shop opens at these prices, and they were first seen by the load of the day.
        greatest(timestamp '{begin}', case when rank > 1 then dbt_valid_from end) as begins,
        least(timestamp '{until}', dbt_valid_to) as ends
    from (
        select *, rank() over (partition by product_id order by dbt_valid_from)
        from snapshots.products_snapshot
        where dbt_valid_from >= '{begin}'
    ) as versions
) as version
cross join generate_series({first}, {last}) as nr
where begins < ends;

drop table kept_users, kept_orders, kept_sessions, kept_addresses
"""
# The orders' versions as well: here one snapshot took them all, today.
AGE_ORDERS = """
update snapshots.orders_snapshot set
    dbt_valid_from = dbt_valid_from - interval '2 days', dbt_updated_at = dbt_updated_at - interval '2 days'
where dbt_valid_from > now() at time zone 'UTC' - interval '2 days'
"""
# A clock that says what the shop's calendar says, for loads alone: they stamp rows with it.
SHOP_CLOCK = """
create schema bench;
create function bench.clock_timestamp() returns timestamptz language sql
as $$select pg_catalog.current_setting('bench.now')::timestamptz$$
"""


@dataclass
class Peak:
    """The most, in MB, that the server's processes had for themselves at a time, and in temporary files at a time."""

    server_mb: float = 0
    temp_mb: float = 0


@dataclass
class Measured:
    """What was measured of one run: seconds by step and by node, of the clock and of the processors, and megabytes."""

    steps: dict[str, float] = field(default_factory=dict)
    nodes: dict[str, float] = field(default_factory=dict)
    cpu: float = 0
    temp_mb: float = 0
    peak: Peak = field(default_factory=Peak)

    @property
    def seconds(self) -> float:
        """All steps together."""
        return sum(self.steps.values())

    def shares_of_days(self, day: Measured) -> list[float]:
        """The share that each day of a week has of what these nodes take more than on a day.

        Each of the two buffers is built every other day, and has the turns of two days then (`its_turn` in
        `dbt/macros/daily/new_rows.sql`).
        """
        more = {node: max(0, seconds - day.nodes.get(node, 0)) for node, seconds in self.nodes.items()}
        by_day = [0.0] * 7
        for node, seconds in more.items():
            moment = int(hashlib.md5(node.encode(), usedforsecurity=False).hexdigest()[:8], 16) % (7 * 24 * 3600)
            by_day[moment // (24 * 3600)] += seconds
        return [(by_day[nr - 1] + by_day[nr]) / (sum(more.values()) or 1) for nr in range(7)]


@dataclass
class Stage:
    """One size of the history: how large it is, what a full build takes, a day after it, and one that looks at all."""

    events: int
    raw_mb: float
    buffer_mb: float
    day_events: int
    full: Measured
    day: Measured
    look: Measured

    @property
    def week(self) -> list[float]:
        """What each day of a week takes with its part of the look, in days without it, by the processors' seconds."""
        more = max(0, self.look.cpu - self.day.cpu) / self.day.cpu
        return [1 + more * share for share in self.look.shares_of_days(self.day)]


class Bench:
    """A demo shop with a warehouse of its own, at work."""

    def __init__(
        self,
        server: postgres.LocalPostgres,
        work: Path,
        orders_per_day: int,
        first_day: date,
        say: Callable[[str], None],
    ):
        self.server, self.work, self.orders_per_day, self.say = server, work, orders_per_day, say
        self.first_day = first_day
        self.runs, self.copies = 0, 0
        postgres.ensure_database(server, "bench")
        where = server.database("bench")
        os.environ.update(where.environment())
        migrate.upgrade()
        self.loader = psycopg2.connect(
            host=where.host,
            port=where.port,
            dbname=where.database,
            user=where.user,
            options="-c timezone=UTC -c search_path=bench,pg_catalog",
        )
        self.loader.autocommit = True
        self.query(SHOP_CLOCK)
        self.manifest = dbtRunner().invoke(["--quiet", "parse", *self._flags()]).result
        self.facts = read(self.work / "target" / "manifest.json")
        self.day, self.events = 0, 0

    def query(self, statement: str) -> list[tuple]:
        """The rows of a query."""
        with self.loader.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def load_a_day(self, at: datetime | None = None) -> int:
        """The shop's next day, loaded at 5 o'clock in the morning after it, or whenever told; returns its events."""
        self.day += 1
        at = at or datetime.combine(self.first_day, datetime.min.time(), UTC) + timedelta(days=self.day, hours=5)
        self.query(f"set bench.now = '{at.isoformat()}'")
        report = demo.play_day(
            self.loader, self.day, orders_per_day=self.orders_per_day, first_day=self.first_day, steady=True
        )
        self.events += report.tables["events"].inserted
        return report.tables["events"].inserted

    def grow(self, events: int) -> None:
        """Load days until the history has so many events, with the versions that a daily snapshot would have made."""
        began = time.monotonic()
        if self.day == 0:
            self.load_a_day()
            self.dbt(STEPS["snapshot"])
        while self.events < min(events, PLAYED):
            self.load_a_day()
            self.query(CLOSE_VERSIONS)
            self.query(OPEN_VERSIONS)
        if self.events < events:
            self._copy_history(events)
        self.query("vacuum analyze")
        self.say(f"{self.events:,} events in {self.day} days, {time.monotonic() - began:.0f} s")

    def _copy_history(self, events: int) -> None:
        """Copy what was played into the past, until there are so many events."""
        [[until]] = self.query(
            "select min((created_at at time zone 'UTC')::date) from raw.orders where delivered_at is null"
        )
        of_these = "select count(*) from raw.events where created_at >= '{}' and created_at < '{}'"
        [[copied]] = self.query(of_these.format(self.first_day, until))
        first = self.copies + 1
        self.copies += -(-(events - self.events) // copied)
        days = (until - self.first_day).days
        self.query(COPY_HISTORY.format(begin=self.first_day, until=until, days=days, first=first, last=self.copies))
        [[self.events]] = self.query("select count(*) from raw.events")

    def run(
        self, *, full_refresh: bool = False, look_at_all: bool = False, steps: Mapping[str, tuple[str, ...]] = STEPS
    ) -> Measured:
        """A run's dbt, what it observes, and its publish."""
        self.runs += 1
        run_id = f"run {self.runs}"
        with connect("bench") as connection:
            runs.begin(connection, run_id, "bench")
            buffers.begin(connection, run_id, full_refresh=full_refresh)
        if look_at_all:
            self.query("update ops.buffers set scan = true where schema_oid = 'analytics_next'::regnamespace")
        measured, temp_before, cpu_before = Measured(), self._temp_bytes(), cpu_seconds(self.server)
        with peak_of(self.server) as measured.peak:
            for step, command in steps.items():
                began = time.monotonic()
                measured.nodes |= self.dbt(command)
                measured.steps[step] = time.monotonic() - began
        measured.cpu = cpu_seconds(self.server) - cpu_before
        measured.temp_mb = (self._temp_bytes() - temp_before) / 1e6
        publish_run(run_id, NOTHING_TO_PROVE)
        # Which has observed nothing either; what a run observes before that is as large in the other buffer.
        began = time.monotonic()
        if not_seen := observe.of_run(run_id, self.facts, datetime.now(UTC)):
            raise SystemExit(f"Not observed: {not_seen[0].why}")
        measured.steps[OBSERVE] = time.monotonic() - began
        return measured

    def dbt(self, command: tuple[str, ...]) -> dict[str, float]:
        """A dbt command; returns the seconds of each node by its unique id, and raises where one failed."""
        untested = ("--exclude-resource-type", "unit_test")
        done = dbtRunner(manifest=self.manifest).invoke([*command, *untested, "--quiet", *self._flags()])
        if not done.success:
            raise SystemExit(f"dbt {' '.join(command)} failed: {done.exception or 'its output says why'}")
        return {result.node.unique_id: result.execution_time for result in done.result.results}

    def stage(self, events: int) -> Stage:
        """Grow to a size, build in full, live through some days, and tell."""
        self.grow(events)
        full = self.run(full_refresh=True)
        self.say(f"  in full: {full.seconds:.1f} s")
        self.run(full_refresh=True, steps=UNTESTED)
        self.query(AGE_ORDERS)
        self.query("vacuum analyze")
        days = []
        for _ in range(DAYS_AFTER):
            day_events = self.load_a_day()
            days.append((self.run(), day_events))
            self.say(f"  a day: {days[-1][0].seconds:.1f} s")
        day, day_events = min(days[2:], key=lambda told: told[0].seconds)
        size = self.events, self._megabytes("raw"), self._megabytes(BUILT)
        self.load_a_day()
        look = self.run(look_at_all=True)
        self.say(f"  a look at all of history: {look.seconds:.1f} s")
        return Stage(*size, day_events, full, day, look)

    def _megabytes(self, schema: str) -> float:
        tables = f"from pg_class where relnamespace = '{schema}'::regnamespace and relkind = 'r'"
        [[size]] = self.query(f"select coalesce(sum(pg_total_relation_size(oid)), 0) {tables}")
        return float(size) / 1e6

    def _temp_bytes(self) -> int:
        time.sleep(1.1)  # the server tells once a second
        return self.query("select temp_bytes from pg_stat_database where datname = current_database()")[0][0]

    def _flags(self) -> list[str]:
        return [
            *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
            *("--target-path", str(self.work / "target"), "--log-path", str(self.work / "logs")),
        ]


def cpu_seconds(server: postgres.LocalPostgres) -> float:
    """What dbt, in this process, and the server's processes, ended ones included, have had of the processors so far."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime + Processes(server.data).cpu_seconds().total()


@contextmanager
def peak_of(server: postgres.LocalPostgres) -> Iterator[Peak]:
    """The most memory and temporary files at a time, while it lasts.

    By what costs next to nothing to ask, since this process is measured as well.
    """
    peak = Peak()
    postmaster = postgres.server_process(server.data)
    page = resource.getpagesize() / 1e6

    def look() -> None:
        memory = files = 0.0
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError, IndexError):  # it ended meanwhile
                if int(status.read_text().rsplit(")", 1)[1].split()[1]) == postmaster:
                    _, resident, shared, *_ = status.with_name("statm").read_text().split()
                    memory += (int(resident) - int(shared)) * page
        with suppress(OSError):
            for file in (server.data / "base" / "pgsql_tmp").rglob("*"):
                files += file.stat().st_size / 1e6
        peak.server_mb, peak.temp_mb = max(peak.server_mb, memory), max(peak.temp_mb, files)

    with watching(0.25, look):
        yield peak


def table(stages: list[Stage]) -> str:
    """What was measured, as Markdown: the sizes side by side, then the nodes on which a day spends most."""
    smallest = stages[0].day
    lines = [
        "| | " + " | ".join(f"{stage.events:,} events" for stage in stages) + " |",
        "|---|" + "---:|" * len(stages),
    ]

    def row(name: str, tell: Callable[[Stage], str]) -> None:
        lines.append(f"| {name} | " + " | ".join(tell(stage) for stage in stages) + " |")

    def by_node(when: str, measured: Callable[[Stage], Measured]) -> None:
        lines.extend(["", f"Seconds by node, {when}:", "", lines[0], lines[1]])
        largest = measured(stages[-1]).nodes
        for node in sorted(largest, key=lambda node: -largest[node])[:30]:
            row(f"`{node.split('.')[2]}`", lambda stage, node=node: f"{measured(stage).nodes.get(node, 0):.2f}")

    row("raw tables, MB", lambda stage: f"{stage.raw_mb:,.0f}")
    row("one buffer, MB", lambda stage: f"{stage.buffer_mb:,.0f}")
    row("full build, s", lambda stage: f"{stage.full.seconds:.1f}")
    for step in (*STEPS, OBSERVE):
        row(f"- of it {step}", lambda stage, step=step: f"{stage.full.steps[step]:.1f}")
    row("- seconds of the processors", lambda stage: f"{stage.full.cpu:.1f}")
    row("- memory of the server, MB", lambda stage: f"{stage.full.peak.server_mb:,.0f}")
    row("- temporary files, MB", lambda stage: f"{stage.full.temp_mb:,.0f}")
    row("- at a time, MB", lambda stage: f"{stage.full.peak.temp_mb:,.0f}")
    row("the day's events", lambda stage: f"{stage.day_events:,}")
    row("**a day, s**", lambda stage: f"**{stage.day.seconds:.1f}**")
    row("**times the smallest**", lambda stage: f"**{stage.day.seconds / smallest.seconds:.2f}**")
    for step in (*STEPS, OBSERVE):
        row(f"- of it {step}", lambda stage, step=step: f"{stage.day.steps[step]:.1f}")
    row("- seconds of the processors", lambda stage: f"{stage.day.cpu:.1f}")
    row("- times the smallest", lambda stage: f"{stage.day.cpu / smallest.cpu:.2f}")
    row("- memory of the server, MB", lambda stage: f"{stage.day.peak.server_mb:,.0f}")
    row("- temporary files, MB", lambda stage: f"{stage.day.temp_mb:,.0f}")
    row("a look at all, seconds of the processors", lambda stage: f"{stage.look.cpu:.1f}")
    row("a week's longest day with its part of the look, times a day", lambda stage: f"{max(stage.week):.2f}")
    row("- times the shortest", lambda stage: f"{max(stage.week) / min(stage.week):.2f}")
    by_node("on a day", lambda stage: stage.day)
    by_node("when all look at all of history at once", lambda stage: stage.look)
    lines += ["", f"dbt's own process had at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:,.0f} MB."]
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.size", description=main.__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000], help="sizes")
    parser.add_argument("--orders-per-day", type=int, default=1_000, help="default: %(default)s, some 10,000 events")
    parser.add_argument(
        "--settings", nargs="+", default=[], metavar="NAME=VALUE", help="of the server, such as work_mem=64MB"
    )
    parser.add_argument("--keep", type=Path, help="a folder for the server's files, kept afterwards")
    arguments = parser.parse_args()
    # The whole history lies behind us, as a shop's does.
    most_days = min(max(arguments.events), PLAYED) // (8 * arguments.orders_per_day) + 30
    first_day = datetime.now(UTC).date() - timedelta(days=most_days)
    with folder.working(arguments.keep) as work:
        settings = SERVER | dict(setting.split("=", 1) for setting in arguments.settings)
        server = postgres.start(work / "postgres", settings=settings)
        bench = Bench(server, work, arguments.orders_per_day, first_day, Progress().say)
        stages = [bench.stage(events) for events in sorted(arguments.events)]
        print(table(stages))


if __name__ == "__main__":
    main()
