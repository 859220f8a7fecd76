"""The image and the compose file, as far as reading them tells; `make containers` starts them."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from deploy import env_file
from include.settings import PROJECT_ROOT, Warehouse
from include.warehouse import roles

COMPOSE = (PROJECT_ROOT / "docker-compose.yaml").read_text()
SERVICES: dict[str, dict] = yaml.safe_load(COMPOSE)["services"]
# What is put beside it for a warehouse on a Postgres that others run.
MANAGED = (PROJECT_ROOT / "deploy" / "managed-postgres.yaml").read_text()
ELSEWHERE: dict[str, dict] = yaml.safe_load(MANAGED)["services"]
DOCKERFILE = (PROJECT_ROOT / "Dockerfile").read_text()
HELM = yaml.safe_load((PROJECT_ROOT / "deploy" / "helm" / "values.yaml").read_text())
WATCHDOG = yaml.safe_load((PROJECT_ROOT / "deploy" / "helm" / "watchdog.yaml").read_text())
PINS = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (PROJECT_ROOT / "constraints.txt").read_text(), re.MULTILINE))
AT_WORK = sorted(set(SERVICES) - {"init"})


def environment(service: str) -> dict[str, str]:
    return {name: str(value or "") for name, value in SERVICES[service].get("environment", {}).items()}


def knows(service: str) -> set[str]:
    """The secrets that a service is given, under whatever name, or on its command line."""
    text = str([environment(service), SERVICES[service].get("command")])
    return {name for name in env_file.SECRETS if f"${{{name}" in text}


# Secrets ---------------------------------------------------------------------------------------------------------


def test_compose_refuses_to_start_without_any_secret_and_make_secrets_writes_them_all() -> None:
    wanted = re.findall(r"\$\{(\w+):\?([^}]+)\}", COMPOSE)
    assert {name for name, _ in wanted} == set(env_file.SECRETS)
    assert all("make secrets" in message for _, message in wanted)


@pytest.mark.parametrize("service", SERVICES)
def test_no_password_is_written_down(service: str) -> None:
    secret = {name: value for name, value in environment(service).items() if re.search("PASSWORD|SECRET|FERNET", name)}
    assert [name for name, value in secret.items() if not re.fullmatch(r"\$\{\w+(:\?[^}]*)?\}", value)] == []
    urls = re.findall(r"://[^/\s]*@", str(environment(service)))
    assert [url for url in urls if "${" not in url] == []


def test_a_service_knows_the_secrets_of_its_own_work() -> None:
    airflow = {
        "AIRFLOW_DB_PASSWORD",
        "AIRFLOW__API_AUTH__JWT_SECRET",
        "AIRFLOW__API__SECRET_KEY",
        "AIRFLOW__CORE__FERNET_KEY",
        "REDIS_PASSWORD",
    }
    assert knows("api-server") == airflow | {"WAREHOUSE_HEALTH_PASSWORD", "GREENERY_HEALTH_TOKEN"}
    assert knows("triggerer") == airflow
    assert knows("dag-processor") == airflow | {"WAREHOUSE_TRANSFORMER_PASSWORD"}
    loads = {"WAREHOUSE_TRANSFORMER_PASSWORD", "WAREHOUSE_LOADER_PASSWORD", "WAREHOUSE_DEVELOPER_PASSWORD"}
    assert knows("scheduler") == airflow | loads
    # Not Airflow's database: what runs in a task asks the API.
    assert knows("worker") == {"AIRFLOW__API__SECRET_KEY", "REDIS_PASSWORD"} | loads
    assert knows("watchdog") == {"WAREHOUSE_TRANSFORMER_PASSWORD"}
    assert knows("demo") == {"WAREHOUSE_LOADER_PASSWORD"}
    assert knows("backup") == {"WAREHOUSE_TRANSFORMER_PASSWORD", "AIRFLOW_DB_PASSWORD"}
    assert [name for name in AT_WORK if "POSTGRES_PASSWORD" in knows(name)] == ["postgres"]


def test_what_nobody_made_up_here_reaches_who_needs_it_and_nobody_else() -> None:
    def given(name: str) -> set[str]:
        return {service for service in SERVICES if name in environment(service)}

    assert given("AIRFLOW_CONN_SLACK_BOT") == {"dag-processor", "scheduler", "watchdog", "worker"}
    assert given("SHOP_DATABASE_URL") == {"dag-processor", "init", "scheduler", "worker"}
    assert given("GREENERY_HEALTH_TOKEN") == {"api-server"}
    # Who reads or writes the raw tables agrees on where they are.
    assert given("GREENERY_RAW_SCHEMA") == set(SERVICES) - {"backup", "postgres", "redis"}


def test_each_service_works_in_the_warehouse_as_its_role() -> None:
    users = {name: environment(name)["WAREHOUSE_USER"] for name in SERVICES if "WAREHOUSE_USER" in environment(name)}
    tasks = dict.fromkeys(("init", "scheduler", "dag-processor", "worker", "watchdog", "backup"), roles.TRANSFORMER)
    assert users == tasks | {"api-server": roles.HEALTH, "demo": roles.LOADER}
    for role in roles.LOGINS:
        assert f"WAREHOUSE_{role.removeprefix('greenery_').upper()}_PASSWORD" in environment("init")


def test_with_a_warehouse_elsewhere_whoever_works_in_it_is_told_where_and_how_and_can_get_there() -> None:
    at_work = {name for name in SERVICES if {"WAREHOUSE_HOST", "WAREHOUSE_USER"} & environment(name).keys()}
    assert ELSEWHERE.keys() == at_work
    wanted = {name for name in Warehouse("", 0, "", "", "").environment() if not name.endswith(("_USER", "_PASSWORD"))}
    for name, one in ELSEWHERE.items():
        assert one["environment"].keys() >= wanted
        assert "outside" in one.get("networks", SERVICES[name].get("networks", []))
        assert "./deploy/certificates:/opt/airflow/certificates:ro" in SERVICES[name]["volumes"]
    of_others = {"WAREHOUSE_USER", "WAREHOUSE_PASSWORD", "WAREHOUSE_ADMIN_USER", "WAREHOUSE_ADMIN_PASSWORD"}
    assert {name for name in ELSEWHERE if of_others & ELSEWHERE[name]["environment"].keys()} == {"init"}


# Services --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", AT_WORK)
def test_a_service_is_watched_and_started_again(service: str) -> None:
    assert SERVICES[service]["restart"] == "unless-stopped"
    assert SERVICES[service]["healthcheck"]["test"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_do_no_more_than_its_work_and_fill_no_more_than_its_share(service: str) -> None:
    """`x-bounded` of the compose file, which a new service takes along, and limits of its own."""
    one = SERVICES[service]
    assert one["cap_drop"] == ["ALL"]
    assert "cap_add" not in one
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert not one.get("privileged")
    assert one["read_only"] is True
    assert all("size=" in mount or mount == "/var/run/postgresql" for mount in one["tmpfs"])
    assert one["logging"]["options"].keys() == {"max-size", "max-file"}
    assert one["deploy"]["resources"]["limits"].keys() >= {"memory", "pids"}
    # The image of the others has a user of its own, which `make containers` checks.
    assert one.get("user", "airflow") != "root"
    assert "user" in one or "build" in one


def test_only_who_speaks_to_the_outside_can_reach_it_and_only_who_queues_the_queue() -> None:
    networks = yaml.safe_load(COMPOSE)["networks"]
    assert {name for name, one in networks.items() if (one or {}).get("internal")} == {"default", "queue"}
    on = {name: {one for one in SERVICES if name in SERVICES[one].get("networks", ["default"])} for name in networks}
    assert on["queue"] == {"redis", "scheduler", "worker"}
    # Slack, the shop, people's own DAGs; the API server for its port.
    assert on["outside"] == {"api-server", "dag-processor", "scheduler", "triggerer", "watchdog", "worker"}
    assert on["default"] == set(SERVICES) - {"redis"}


def test_a_large_load_does_not_lie_in_memory() -> None:
    """Rows that are loaded wait in files, and `/tmp` is memory."""
    for service in ("init", "scheduler", "worker"):
        folder = environment(service)["TMPDIR"]
        assert f"scratch:{folder}" in SERVICES[service]["volumes"]
        assert re.search(rf"mkdir -m 2775 .*{folder}\b", DOCKERFILE)


def test_ports_are_open_to_this_machine_alone_unless_a_setting_says_otherwise() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports == ["${GREENERY_UI_ADDRESS:-127.0.0.1}:${GREENERY_UI_PORT:-8080}:8080"]


def test_without_a_profile_neither_the_demo_shop_nor_celery_starts() -> None:
    assert {name: one["profiles"] for name, one in SERVICES.items() if "profiles" in one} == {
        "demo": ["demo"],
        "redis": ["celery"],
        "worker": ["celery"],
    }


LISTED = set(re.findall(r"^(?:# )?([A-Z]\w+)=", (PROJECT_ROOT / ".env.example").read_text(), re.MULTILINE))


def test_every_setting_is_listed() -> None:
    named = set(re.findall(r"(?<!\$)\$\{(\w+)", COMPOSE)) | {
        name for one in SERVICES for name, value in environment(one).items() if not value
    }
    images = {"AIRFLOW_IMAGE", "POSTGRES_IMAGE", "REDIS_IMAGE"}
    assert named - set(env_file.SECRETS) - images <= LISTED


def test_every_listed_setting_is_given_to_a_service() -> None:
    of_the_image = {"GREENERY_DBT_DIR", "GREENERY_STATE_DIR"}
    of_compose = {"COMPOSE_PROFILES", "COMPOSE_FILE"}
    of_what_is_off = {"GREENERY_MCP_TOKEN"}  # no service answers machines over HTTP
    interpolated = set(re.findall(r"(?<!\$)\$\{(\w+)", COMPOSE + MANAGED))
    given = interpolated.union(*(environment(service) for service in SERVICES), ELSEWHERE["init"]["environment"])
    assert LISTED - given == of_the_image | of_compose | of_what_is_off


# Volumes ---------------------------------------------------------------------------------------------------------


def mounts(service: str) -> dict[str, str]:
    """Where a service has which volume: `releases` by its folder, `releases:ro` where it only reads."""
    split = [volume.split(":") for volume in SERVICES[service].get("volumes", [])]
    return {where: ":".join((name, *how)) for name, where, *how in split}


def test_only_who_makes_the_releases_of_the_dbt_project_may_write_them() -> None:
    folder = "/opt/airflow/state/dbt"
    writing = {name for name in SERVICES if mounts(name).get(folder) == "releases"}
    assert writing == {"init", "dag-processor"}
    reading = {name for name in SERVICES if mounts(name).get(folder) == "releases:ro"}
    assert {"api-server", "scheduler", "worker"} <= reading
    # Nor by another path.
    above = {where for name in SERVICES for where in mounts(name) if f"{folder}/".startswith(f"{where}/")}
    assert above == {folder}
    assert [
        name for name in SERVICES for volume in mounts(name).values() if volume == "releases" and name not in writing
    ] == []


def test_both_who_ask_whether_the_warehouse_is_up_remember_in_one_place() -> None:
    sharing = {name for name in SERVICES if mounts(name).get("/opt/airflow/state/watchdog") == "watchdog"}
    assert sharing == {"scheduler", "watchdog", "worker"}


def test_every_image_of_ours_is_named_by_the_revision_that_it_is_built_from() -> None:
    images = {service["image"] for service in SERVICES.values() if "build" in service}
    assert images == {"${AIRFLOW_IMAGE:-greenery-airflow:${GREENERY_REVISION:-latest}}"}


# Behind a proxy --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "secure"), [("https://airflow.example.com", "True"), ("http://localhost:8080", "")]
)
def test_cookies_are_secure_where_people_come_by_https(address: str, secure: str, tmp_path: Path) -> None:
    airflow = tmp_path / "airflow"
    airflow.write_text('#!/bin/sh\necho "$*: $AIRFLOW__FAB__COOKIE_SECURE"')
    airflow.chmod(0o755)
    command = [part.replace("$$", "$") for part in SERVICES["api-server"]["command"]]
    known = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "AIRFLOW__API__BASE_URL": address}
    said = subprocess.run(command, env=known, check=True, capture_output=True, text=True).stdout
    assert said == f"api-server --proxy-headers: {secure}\n"


def test_nobody_s_forwarded_headers_are_believed_unless_a_setting_names_them() -> None:
    assert {name for name in SERVICES if "FORWARDED_ALLOW_IPS" in environment(name)} == {"api-server"}
    assert environment("api-server")["FORWARDED_ALLOW_IPS"] == "", (
        "then uvicorn believes its own machine, the container"
    )


# Backups -----------------------------------------------------------------------------------------------------------


def test_backups_lie_in_a_volume_of_their_own_that_who_restores_has_as_well() -> None:
    where = "${GREENERY_BACKUP_VOLUME:-backups}:/opt/airflow/backups"
    assert {name for name in SERVICES if where in SERVICES[name].get("volumes", [])} == {"backup", "init"}
    assert {environment(name)["GREENERY_BACKUP_DIR"] for name in ("backup", "init")} == {"/opt/airflow/backups"}
    assert "/opt/airflow/backups " in DOCKERFILE
    # Who makes a backup, and who says that it is late.
    asking = {name for name in SERVICES if environment(name).get("GREENERY_BACKUP_SCHEDULE")}
    assert asking >= {"backup", "watchdog", "scheduler", "worker", "api-server"}


def test_a_backup_that_failed_is_tried_again_in_a_minute(tmp_path: Path) -> None:
    """As where the service comes up a moment before the name of the server is known."""
    programs = {
        "python": "echo save >> did; [ -e tried ] || { touch tried; exit 1; }",
        "sleep": "echo $1 >> did; [ $1 != 300 ] || kill -TERM $PPID",
    }
    for name, program in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{program}\n")
        (tmp_path / name).chmod(0o700)
    command = SERVICES["backup"]["command"][-1].replace("$$", "$").replace("/tmp/", "")  # noqa: S108 - gone
    where = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["/bin/bash", "-c", command], cwd=tmp_path, env=where, timeout=20, check=True)
    assert (tmp_path / "did").read_text().split() == ["save", "60", "save", "300"]
    assert (tmp_path / "looked").exists()


def test_the_docs_throw_nothing_away_before_the_backup_was_read_and_forget_people_before_a_run_begins() -> None:
    text = (PROJECT_ROOT / "docs" / "operations.md").read_text()
    lines = re.findall(r"^    (docker .+)$", text.partition("\n## With compose\n")[2], re.MULTILINE)
    steps = ("compose down", " check ", " restore --replace ", " include.erase --again ", "up --detach", "volume rm")
    at = [next(number for number, line in enumerate(lines) if step in line) for step in steps]
    assert at == sorted(at)


def test_where_no_backup_can_be_saved_nothing_is_migrated() -> None:
    [*shell, script] = SERVICES["init"]["command"]
    assert "-e" in shell[1][:2], "the first command that fails is the last one"
    doing = [line for line in script.splitlines() if not line.startswith("#")]
    assert doing[:2] == ["python -m include.warehouse.migrate", "airflow db migrate"]


def test_the_programs_that_make_backups_are_of_the_servers_version() -> None:
    [default] = re.findall(r"^ARG POSTGRES_MAJOR=(\d+)$", DOCKERFILE, re.MULTILINE)
    assert f"postgres:{default}}}" in SERVICES["postgres"]["image"]
    assert SERVICES["backup"]["build"]["args"]["POSTGRES_MAJOR"] == f"${{POSTGRES_MAJOR:-{default}}}"


# Image -----------------------------------------------------------------------------------------------------------


def test_the_pins_are_the_same_everywhere() -> None:
    deployed = (PROJECT_ROOT / "requirements-deployment.txt").read_text()
    wanted = (PROJECT_ROOT / "requirements.txt").read_text() + deployed
    exact = dict(re.findall(r"^([\w.-]+)==([\w.]+)", wanted, re.MULTILINE))
    assert {name: PINS.get(name) for name in exact} == exact
    assert set(re.findall(r"apache/airflow:([\d.]+)-", DOCKERFILE)) == {exact["apache-airflow"]}
    assert str(HELM["airflowVersion"]) == exact["apache-airflow"]
    assert "requirements-dev" not in DOCKERFILE


def test_only_what_a_run_needs_can_be_copied() -> None:
    rules = (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
    assert next(rule for rule in rules if not rule.startswith("#")) == "*"
    allowed = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    copied = [
        source for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE) for source in _sources(line.split())
    ]
    assert [one for one in copied if not any(fnmatch(f"{one}/x.py", f"{rule}*") for rule in allowed)] == []
    assert not any(fnmatch(".env", rule) for rule in allowed)


def _sources(words: list[str]) -> list[str]:
    return [word for word in words[:-1] if not word.startswith("--")]


def test_the_release_in_the_image_is_of_the_compose_files_warehouse() -> None:
    built = dict(re.findall(r"^ARG (WAREHOUSE_\w+|GREENERY_\w+)=(\S+)$", DOCKERFILE, re.MULTILINE))
    assert built.pop("GREENERY_RAW_SCHEMA") == "raw", "what it is where nobody sets it"
    assert built == {name: environment("scheduler")[name] for name in built}
    assert len(built) == 4
    # Of another, so that a release that is built for it holds there.
    assert set(re.findall(r"^ARG (WAREHOUSE_\w+)=", DOCKERFILE, re.MULTILINE)) == {
        name for name in Warehouse("", 0, "", "", "").environment() if name != "WAREHOUSE_PASSWORD"
    }


def test_on_kubernetes_the_watchdog_knows_what_airflow_knows() -> None:
    [watchdog] = WATCHDOG["spec"]["template"]["spec"]["containers"]
    its = {one["name"]: one["value"] for one in watchdog["env"] if "value" in one}
    assert its == {one["name"]: one["value"] for one in HELM["env"]}
    assert {"AIRFLOW__API__BASE_URL", "GREENERY_SCHEDULE"} <= its.keys()
    # Where `$$` is `$` for Kubernetes as well as for compose.
    command = watchdog["args"][-1].replace("sleep 300", "sleep 300 & wait $$!")
    assert SERVICES["watchdog"]["command"][-1] == f"trap 'exit 0' TERM\n{command}"


def test_the_helm_chart_gets_every_setting_of_airflow_cfg() -> None:
    ours = configparser.ConfigParser(interpolation=None)
    ours.read(PROJECT_ROOT / "airflow.cfg")
    theirs = {section: {name: str(value) for name, value in keys.items()} for section, keys in HELM["config"].items()}
    missing = {
        (section, name): value
        for section in ours.sections()
        for name, value in ours[section].items()
        if theirs.get(section, {}).get(name) != value
    }
    assert missing == {}
