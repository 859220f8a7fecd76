"""Whatever is killed between two commits: tried again it ends as if it had not been, and nobody who reads notices."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from airflow.sdk.execution_time.context import set_current_context
from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from include import backup, settings, under_way
from include.answers import answers
from include.answers.answer import About, Kind
from include.daily import admission, buffers, report, snapshots, watchdog
from include.daily.admission import holder_of
from include.demo_shop import demo
from include.erase import __main__ as erasing
from include.erase import erasure
from include.local import postgres
from include.publish import __main__ as deciding
from include.publish import publish as publishing
from include.publish.gate import NotPublishedError
from include.publish.publish import publish_run
from include.raw import __main__ as raw_tables
from include.raw import lease
from include.raw.csv_loader import load_folder
from include.results import node_results, runs
from include.settings import Warehouse
from include.slack import progress
from include.warehouse import backups, connect, migrate, sandbox
from include.warehouse.client import BackupError, Transaction
from tests import failpoints
from tests.conftest import copy_warehouse, named_by_the_environment
from tests.faulty import opened
from tests.include.erase.conftest import fill
from tests.include.publish.test_publish import BUILT, MANIFEST, build
from tests.include.raw.conftest import folder  # noqa: F401 - a fixture
from tests.include.results.project import FACTS
from tests.include.results.test_summary import BUILT as ALL_BUILT
from tests.include.results.test_summary import DOUBLED
from tests.meanwhile import meanwhile
from tests.releases import make_release
from tests.slack_server import Slack, slack_server
from tests.waiting import wait_for

pytestmark = pytest.mark.db

RELEASE = json.dumps({"nodes": MANIFEST.nodes, "sources": {}})


@dataclass(frozen=True)
class Deed:
    """Something that is done in steps, in a warehouse that was made ready for it.

    A step that was killed is tried again, as Airflow does or a person, and the steps behind it follow. A person looks
    first whether it took effect, where `is_done` says how. `also` are functions that commit by themselves, `besides`
    tables that may tell of the first try.
    """

    ready: Callable[[Connection], None]
    steps: tuple[Callable[[], None], ...]
    is_done: Callable[[Connection], bool] = lambda _: False
    also: tuple[tuple[Any, str], ...] = ()
    besides: frozenset[str] = frozenset()


def task(name: str, run_id: str, **states: str) -> dict[str, Any]:
    """A task's context, as far as it is asked."""
    return {
        "run_id": run_id,
        "dag": SimpleNamespace(dag_id="greenery_daily"),
        "dag_run": SimpleNamespace(run_type="scheduled", start_date=datetime.now(UTC) - timedelta(minutes=1)),
        "params": {},
        "ti": SimpleNamespace(
            dag_id="greenery_daily",
            run_id=run_id,
            task_id=name,
            try_number=1,
            max_tries=3,
            get_dr_count=lambda _dag, **_: 0,
            get_task_states=lambda **_: {run_id: states},
            xcom_push=lambda **_: None,
            xcom_pull=lambda **_: None,
        ),
    }


def publish() -> None:
    with set_current_context(task("publish", "run 3")):
        publishing.publish.function()


def tell() -> None:
    with set_current_context(task("report", "run 3", publish="success")):
        report.report.function()


def show_progress() -> None:
    progress.at(task("check_sources", "run 4"), "sources")


def be_refused() -> None:
    with suppress(NotPublishedError), set_current_context(task("publish", "run 4")):
        publishing.publish.function()


def tell_failure() -> None:
    with set_current_context(task("report", "run 4", check_sources="success", publish="failed")):
        report.report.function()


def begin() -> None:
    """What `check_sources` does before it tests."""
    admission.admit(task("check_sources", "run 4"), builds=False)
    with connect() as connection:
        buffers.begin(connection, "run 4")


def succeeds(main: Callable[..., int], *arguments: str) -> Callable[[], None]:
    """A command that is carried out."""

    def run() -> None:
        assert main(*([[*arguments]] if arguments else [])) == 0

    return run


def two_days(db: Connection) -> None:
    """Two runs are published, and a third has built."""
    for number in (1, 2):
        build(db, f"run {number}", f"day {number}")
        publish_run(f"run {number}", MANIFEST)
    build(db, "run 3", "day 3")
    lease.take(db, holder_of("run 3"))


def day_three_is_over(db: Connection) -> None:
    two_days(db)
    publish_run("run 3", MANIFEST)
    lease.release(db, holder_of("run 3"))


def day_three_failed(db: Connection) -> None:
    for number in (1, 2):
        build(db, f"run {number}", f"day {number}")
        publish_run(f"run {number}", MANIFEST)
    build(db, "run 3", "day 3", BUILT)  # and its test left no result


def day_four_fails(db: Connection) -> None:
    """A run of another project, in which a test failed that somebody sees to."""
    day_three_is_over(db)
    make_release("failing", json.dumps(asdict(FACTS)))
    runs.begin(db, "run 4", "failing")
    buffers.begin(db, "run 4")
    node_results.record(db, "run 4", "task", 1, [*ALL_BUILT, DOUBLED])
    lease.take(db, holder_of("run 4"))
    answers.give(db, Kind.MINE, About(DOUBLED.unique_id), "ada", "I look at it")


def held_back(db: Connection) -> None:
    day_three_is_over(db)
    with db.cursor() as cursor:
        cursor.execute(
            "insert into ops.decisions (action, decided_by, reason, decided_at)"
            " values ('hold', 'ada', 'auditors', now() - interval '2 days')"
        )


def decision(
    action: str, ready: Callable[[Connection], None], *typed: str, main: Callable[[list[str]], int] = deciding.main
) -> Deed:
    """A decision at a shell. Who was killed looks at the newest decisions before typing it again."""

    def is_done(db: Connection) -> bool:
        listed = [*under_way.lines(db)]
        newest = listed[listed.index("Decisions") + 1]
        return f", {action} by" in newest and "without effect" not in newest

    return Deed(ready, (succeeds(main, *typed),), is_done, besides=frozenset({"ops.decisions"}))


def in_the_warehouse(does: Callable[[Connection], object]) -> Callable[[], None]:
    """Something that is done over one connection of ours, and committed with it."""

    def run() -> None:
        with connect("greenery test") as connection:
            does(connection)

    return run


def begins_another(db: Connection) -> None:
    day_three_is_over(db)
    runs.begin(db, "run 4", "release")


def with_people(db: Connection) -> None:
    day_three_is_over(db)
    fill(db)
    with connect("test") as connection:
        sandbox.create(connection, "preview_ana", "a test")


def with_somebody_who_came_back(db: Connection) -> None:
    """Erased, and back by a loader that knows nothing of it; since then somebody has a sandbox."""
    day_three_is_over(db)
    fill(db)
    erasure.erase("ann-0001", "asked for it", lambda _: "ada")
    with db.cursor() as cursor:
        cursor.execute("update raw.orders set user_id = 'ann-0001' where order_id = 'o1'")
    with connect("test") as connection:
        sandbox.create(connection, "preview_ana", "a test")


def of_a_former_version(db: Connection) -> None:
    day_three_is_over(db)
    migrate.downgrade("0011", settings.warehouse())


def with_a_backup(db: Connection) -> None:
    day_three_is_over(db)
    backup.save(settings.state_dir() / "backups", settings.warehouse())


def restore() -> None:
    """As a person does: where a try that was killed had changed over, a second one is refused, and says what to do."""
    [saved] = backups.paths(settings.state_dir() / "backups")
    try:
        backup.restore(saved, settings.warehouse(), replace=True)
    except BackupError as refusal:
        assert "of a former restore is still there" in str(refusal)  # noqa: PT017 - in a process of its own
        backup.make_ready(settings.warehouse())


DEEDS = {
    "a run is published and told": Deed(two_days, (publish, tell)),
    "a run fails and is told": Deed(day_four_fails, (show_progress, be_refused, tell_failure)),
    "that nothing was published is told": Deed(
        day_three_is_over, (lambda: watchdog.check(datetime.now(UTC) + timedelta(days=2)),)
    ),
    "a run begins": Deed(begins_another, (begin, lambda: admission.let_go("run 4"))),
    "a roll back": decision("roll back", day_three_is_over, "roll-back", "--reason", "wrong"),
    "a publish by hand": decision("publish", day_three_failed, "publish", "--run", "run 3", "--reason", "it is fine"),
    "a hold": decision("hold", day_three_is_over, "hold", "--reason", "auditors"),
    "a release": decision("release", held_back, "release", "--reason", "they are gone"),
    "history is accepted": decision(
        "accept history", day_three_is_over, "accept", "--reason", "known", main=snapshots.main
    ),
    "CSV files are loaded": Deed(
        day_three_is_over,
        (in_the_warehouse(lambda db: load_folder(db, settings.state_dir() / "small-shop")),),
        besides=frozenset({"raw.loads"}),
    ),
    "a shop's day is played": Deed(
        day_three_is_over, (in_the_warehouse(lambda db: demo.play_day(db, 1, orders_per_day=3)),)
    ),
    "the raw tables are made": Deed(day_three_is_over, (succeeds(raw_tables.main),)),
    "a person is erased": Deed(
        with_people, (succeeds(erasing.main, "--user", "ann-0001", "--reason", "asked for it"),)
    ),
    "who came back is erased again": Deed(with_somebody_who_came_back, (succeeds(erasing.main, "--again"),)),
    "the warehouse is migrated": Deed(
        of_a_former_version,
        (lambda: migrate.upgrade(settings.warehouse()),),
        besides=frozenset({"ops.erasure_key"}),  # which is random
    ),
    "a backup is restored": Deed(
        with_a_backup, (restore,), also=((Transaction, "commit"),), besides=frozenset({"ops.backups"})
    ),
}


# --- what is left, and what people saw -------------------------------------------------------------------------------

SCHEMAS = ("raw", "staging", "snapshots", "analytics", "analytics_next", "ops")
# What tells of the time, or is numbered.
_TIMES = re.compile(
    r"\d\d? [A-Z][a-z]{2}( \d{4})?( \d\d:\d\d)?|\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?|decision \d+|erased-[0-9a-f]{32}"
    r"|Took [\w ]+|\d{10}\.\d{6}"
)
_AS_TEXT = {"oid": "{}::regnamespace::text"}
_COLUMNS = """
select
    attname, atttypid::regtype::text,
    atttypid = 'timestamptz'::regtype or attidentity <> ''
    or attname ~ '_id$|^(file|ends)$' and atttypid = any('{bigint, integer}'::regtype[])
from pg_attribute
where attrelid = %s::regclass and attnum > 0 and not attisdropped
order by attnum
"""


def told(db: Connection) -> dict[str, Any]:
    """All that is in a warehouse, but for moments and numbers that a second try takes from a sequence."""
    with db.cursor() as cursor:
        cursor.execute(
            """
            select format('%%I.%%I', nspname, relname), relkind, relacl::text
            from pg_class join pg_namespace as spaces on spaces.oid = relnamespace
            where nspname = any(%s) and relkind in ('r', 'v', 'm') order by 1
            """,
            (list(SCHEMAS),),
        )
        relations = cursor.fetchall()
        found: dict[str, Any] = {f"rights of {name}": (kind, rights) for name, kind, rights in relations}
        for name, _, _ in relations:
            found[name] = rows(cursor, name)
        cursor.execute(
            "select nspname::text, obj_description(oid) from pg_namespace where nspname !~ '^pg_' order by 1"
        )
        found["schemas"] = [(name, _TIMES.sub("…", said or "")) for name, said in cursor.fetchall()]
    return found


def rows(cursor: Any, name: str) -> list[str]:
    cursor.execute(_COLUMNS, (name,))
    columns = [
        sql.SQL("({} is not null)::text" if masked else _AS_TEXT.get(kind, "{}::text")).format(sql.Identifier(column))
        for column, kind, masked in cursor.fetchall()
    ]
    if not columns:
        return []
    cursor.execute(
        sql.SQL("select array[{}]::text from {}").format(sql.SQL(", ").join(columns), sql.Identifier(*name.split(".")))
    )
    return sorted(_TIMES.sub("…", row) for (row,) in cursor.fetchall())


def left_over(db: Connection) -> list[object]:
    """Sessions that somebody left who is dead, with their locks, and the lease on raw."""
    with db.cursor() as cursor:
        cursor.execute(
            "select application_name, state from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and application_name like 'greenery%'"
        )
        return [*cursor.fetchall(), *filter(None, [lease.held(cursor)])]


@contextmanager
def reading(where: Warehouse) -> Iterator[list[Any]]:
    """Somebody reads two marts all the while; yields the mixes and errors seen."""
    wrong: list[Any] = []

    def reads(over: Event) -> None:
        with closing(psycopg2.connect(**where.libpq())) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while not over.wait(0.01):
                try:
                    cursor.execute("select m.content, n.content from analytics.m cross join analytics.n")
                    wrong.extend(row for row in cursor.fetchall() if len({*row}) > 1)
                except psycopg2.Error as error:
                    wrong.append(error)
                    return

    with meanwhile(reads):
        yield wrong


# --- the test --------------------------------------------------------------------------------------------------------


@dataclass
class Play:
    """Plays a deed, each time in a fresh copy of the warehouse that was made ready for it."""

    server: postgres.LocalPostgres
    template: str
    deed: Deed
    slack: Slack

    def __call__(self, step: int = -1, at: failpoints.Point | None = None) -> tuple[bool, dict[str, Any]]:
        """Whether it died at the point of a step, and what there is in the end."""
        self.slack.posted.clear()
        with postgres.admin(self.server) as cursor:
            cursor.execute("drop database if exists killed with (force)")
        copy_warehouse(self.server, self.template, "killed")
        died = False
        with named_by_the_environment(self.server.database("killed"), self.server) as where, reading(where) as wrong:
            for number, does in enumerate(self.deed.steps):
                if number == step:
                    died = failpoints.dies(does, at, self.deed.also)
                if number != step or (died and not looks(where, self.deed.is_done)):
                    assert not failpoints.dies(does)
            watchdog.check(datetime.now(UTC) + timedelta(minutes=11))
            with opened(where) as db:
                wait_for(lambda: not left_over(db), "nothing is left over")
                end = told(db)
        assert wrong == []
        end["Slack"] = sorted(_TIMES.sub("…", one["text"]) for one in self.slack.posted)
        return died, end


def looks(where: Warehouse, is_done: Callable[[Connection], bool]) -> bool:
    with opened(where) as db:
        return is_done(db)


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slack]:
    """A Slack in which a bot speaks, and can see what it has said."""
    with slack_server() as server:
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_BOT", server.bot())
        monkeypatch.setenv("GREENERY_SLACK_CHANNEL", "C0STATE")
        yield server


# The one that `make test` plays.
QUICK = "a release"


@pytest.mark.parametrize(
    "name", [QUICK, *(pytest.param(name, marks=pytest.mark.torture) for name in DEEDS if name != QUICK)]
)
def test_killed_between_any_two_commits_it_ends_as_if_it_had_not_been(
    name: str,
    server: postgres.LocalPostgres,
    migrated: str,
    slack: Slack,
    tmp_path: Path,
    folder: Path,  # noqa: F811 - in the state folder
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deed = DEEDS[name]
    monkeypatch.setenv("PATH", f"{Path(postgres.binary('psql')).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GREENERY_STATE_DIR", str(tmp_path))
    make_release("release", RELEASE)
    copy_warehouse(server, migrated, "ready")
    try:
        ready(server.database("ready"), deed, monkeypatch)
        play = Play(server, "ready", deed, slack)
        _, wanted = play()
        tried, otherwise = 0, {}
        for step in range(len(deed.steps)):
            for at in failpoints.points():
                died, end = play(step, at)
                if not died:
                    break
                tried += 1
                if differs := difference(wanted, end, deed.besides):
                    otherwise[f"step {step}, {at}"] = differs
        print(f"{name}: {tried} deaths")
        for where, differs in otherwise.items():
            print(where, *(f"{what}: {pair}" for what, pair in differs.items()), sep="\n   ")
        assert otherwise == {}
        assert tried
    finally:
        with postgres.admin(server) as cursor:
            cursor.execute("drop database ready with (force)")


def ready(where: Warehouse, deed: Deed, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as environment:
        for key, value in where.environment().items():
            environment.setenv(key, value)
        with opened(where) as db:
            deed.ready(db)


# A lease that was taken once more is a row more; that it is given back is asked by `left_over`.
_HISTORY = frozenset({"ops.leases"})


def difference(wanted: dict[str, Any], end: dict[str, Any], besides: frozenset[str]) -> dict[str, Any]:
    return {
        name: (wanted.get(name), end.get(name))
        for name in wanted.keys() | end.keys()
        if name not in besides | _HISTORY and wanted.get(name) != end.get(name)
    }
