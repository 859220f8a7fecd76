"""What deploy/helm gives to whom on Kubernetes: as little as compose does. No cluster runs here.

With `helm` and Airflow's chart the values are also held against the chart's schema, and what it makes of them is looked
at. AIRFLOW_CHART names its folder, as `helm pull apache-airflow/airflow --version 1.22.0 --untar` leaves it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.settings import PROJECT_ROOT
from include.warehouse import roles

HELM = PROJECT_ROOT / "deploy" / "helm"
VALUES = yaml.safe_load((HELM / "values.yaml").read_text())
WATCHDOG = yaml.safe_load((HELM / "watchdog.yaml").read_text())
CLAIM, BACKUP = yaml.safe_load_all((HELM / "backup.yaml").read_text())
ADMINISTER = yaml.safe_load((HELM / "administer.yaml").read_text())
POLICIES = list(yaml.safe_load_all((HELM / "network-policies.yaml").read_text()))

DATABASE, FERNET, JWT = (
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
)
SLACK = {f"AIRFLOW_CONN_SLACK_{name}" for name in ("DEFAULT", "ENGINEERS", "BOT")}
TASKS = SLACK | {"WAREHOUSE_PASSWORD", "WAREHOUSE_LOADER_PASSWORD", "WAREHOUSE_DEVELOPER_PASSWORD", "SHOP_DATABASE_URL"}
# Of each container of ours, the secrets that the values give it.
KNOWS = {
    "api-server": {DATABASE, FERNET, "WAREHOUSE_HEALTH_PASSWORD", "GREENERY_HEALTH_TOKEN"},
    "dag-processor": SLACK | {DATABASE, FERNET, "WAREHOUSE_PASSWORD", "SHOP_DATABASE_URL"},
    "scheduler": {DATABASE, FERNET},
    "triggerer": {DATABASE, FERNET},
    "worker": TASKS,
    "run-airflow-migrations": {DATABASE},
    "wait-for-migrations": {DATABASE},
    "warehouse": {"greenery-warehouse-admin"},
    "watchdog": SLACK | {"WAREHOUSE_PASSWORD"},
    "backup": {DATABASE, "WAREHOUSE_PASSWORD"},
    "administer": {DATABASE, "greenery-warehouse-admin"},
}
# What the chart itself gives to each container that runs Airflow.
OF_THE_CHART = {"AIRFLOW__API__SECRET_KEY", "AIRFLOW__CELERY__BROKER_URL", "AIRFLOW__CELERY__RESULT_BACKEND"}
COMPONENTS = {
    "api-server": VALUES["apiServer"],
    "dag-processor": VALUES["dagProcessor"],
    "scheduler": VALUES["scheduler"],
    "triggerer": VALUES["triggerer"],
    "worker": VALUES["workers"]["celery"],
    "run-airflow-migrations": VALUES["migrateDatabaseJob"],
}
SAVES = BACKUP["spec"]["jobTemplate"]["spec"]["template"]["spec"]
OURS = [
    *VALUES["scheduler"]["extraInitContainers"],
    *WATCHDOG["spec"]["template"]["spec"]["containers"],
    *SAVES["containers"],
    *ADMINISTER["spec"]["containers"],
]


def secrets(container: dict[str, Any]) -> set[str]:
    """The variables of a container that come from secrets, and the secrets that it gets as a whole."""
    return {one["name"] for one in container.get("env") or [] if "valueFrom" in one} | {
        one["secretRef"]["name"] for one in container.get("envFrom") or []
    }


def test_a_component_gets_the_secrets_of_its_own_work() -> None:
    assert "secret" not in VALUES, "that would be every container's"
    assert {name: secrets(component) for name, component in COMPONENTS.items()} == {
        name: KNOWS[name] for name in COMPONENTS
    }
    assert {one["name"]: secrets(one) for one in OURS} == {one["name"]: KNOWS[one["name"]] for one in OURS}
    assert set(VALUES["enableBuiltInSecretEnvVars"].values()) == {False}
    assert VALUES["workers"]["kubernetes"]["env"] == VALUES["workers"]["celery"]["env"]


def test_tasks_load_as_the_loader() -> None:
    given = {one["name"]: one.get("value") for one in VALUES["workers"]["celery"]["env"]}
    assert given["WAREHOUSE_LOADER_USER"] == roles.LOADER


def test_the_runbook_sends_people_to_containers_that_the_warehouse_lets_in() -> None:
    runbook = (PROJECT_ROOT / "docs" / "runbook.md").read_text()
    [row] = [line for line in runbook.splitlines() if line.startswith("| Kubernetes |")]
    decides, administers = re.findall(r"kubectl exec greenery-(\w+)", row)
    assert ("WAREHOUSE_PASSWORD" in KNOWS[decides], administers) == (True, "administer")


def test_no_secret_is_written_down() -> None:
    named = [one for part in (*COMPONENTS.values(), *OURS, VALUES) for one in part.get("env") or []]
    written = [
        one["name"] for one in named if "value" in one and any(word in one["name"] for word in ("PASSWORD", "SECRET"))
    ]
    assert written == []


def test_every_image_of_ours_is_the_same_one() -> None:
    airflow = VALUES["images"]["airflow"]
    assert {one["image"] for one in OURS} == {f"{airflow['repository']}:{airflow['tag']}"}


def test_the_ui_believes_the_ingress_and_sends_cookies_by_https_alone() -> None:
    assert VALUES["apiServer"]["args"][-1].endswith("airflow api-server --proxy-headers")
    [address] = [one["value"] for one in VALUES["apiServer"]["env"] if one["name"] == "FORWARDED_ALLOW_IPS"]
    assert address != "*"
    assert VALUES["config"]["fab"]["cookie_secure"] == "True"
    [people] = [one["value"] for one in VALUES["env"] if one["name"] == "AIRFLOW__API__BASE_URL"]
    assert people.startswith("https://")


def test_nobody_comes_in_and_nothing_goes_out_that_no_policy_names() -> None:
    assert VALUES["networkPolicies"]["enabled"]
    by_name = {one["metadata"]["name"]: one["spec"] for one in POLICIES}
    assert by_name["greenery-nobody-comes-in"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    assert by_name["greenery-goes-out"]["podSelector"] == {}
    outside = by_name["greenery-speaks-outside"]
    [who] = outside["podSelector"]["matchExpressions"]
    assert set(who["values"]) == {name for name, known in KNOWS.items() if known >= SLACK}
    assert outside["egress"][0]["to"][0]["ipBlock"]["except"] == ["169.254.0.0/16"]


def bounds(pod: dict[str, Any], container: dict[str, Any]) -> dict[str, Any]:
    """What a container may not do."""
    own = container["securityContext"]
    return {
        "root": not pod["securityContext"]["runAsNonRoot"] or pod["securityContext"]["runAsUser"] == 0,
        "calls": pod["securityContext"]["seccompProfile"]["type"],
        "more rights": own["allowPrivilegeEscalation"],
        "capabilities left": own["capabilities"]["drop"] != ["ALL"],
        "writes": {one["mountPath"] for one in container["volumeMounts"] if not one.get("readOnly")}
        if own["readOnlyRootFilesystem"]
        else "anything",
    }


BOUNDED = {"root": False, "calls": "RuntimeDefault", "more rights": False, "capabilities left": False}
WRITABLE = {"/tmp", "/opt/airflow/logs", "/opt/airflow/state/watchdog"}  # noqa: S108 - of a container


def test_the_watchdog_may_write_what_it_remembers_and_nothing_else() -> None:
    pod = WATCHDOG["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    [container] = pod["containers"]
    assert bounds(pod, container) == BOUNDED | {"writes": WRITABLE - {"/opt/airflow/logs"}}


def test_a_backup_may_write_its_volume_alone_and_is_made_when_the_watchdog_expects_it() -> None:
    [container] = SAVES["containers"]
    assert SAVES["automountServiceAccountToken"] is False
    assert bounds(SAVES, container) == BOUNDED | {"writes": {"/tmp", "/opt/airflow/backups"}}  # noqa: S108
    [volume] = [one for one in SAVES["volumes"] if one["name"] == "backups"]
    assert volume["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
    given = {one["name"]: one.get("value") for one in container["env"]}
    assert given["GREENERY_BACKUP_DIR"] == "/opt/airflow/backups"
    values = {one["name"]: one["value"] for one in VALUES["env"]}
    assert values["GREENERY_BACKUP_SCHEDULE"] == BACKUP["spec"]["schedule"]
    assert BACKUP["spec"]["timeZone"] == "Etc/UTC"
    assert {name: given.get(name) for name in values if name.startswith("WAREHOUSE_")} == {
        name: value for name, value in values.items() if name.startswith("WAREHOUSE_")
    }


def test_who_administers_has_the_backups_and_both_databases_and_is_bounded() -> None:
    pod = ADMINISTER["spec"]
    [container] = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["activeDeadlineSeconds"] <= 8 * 60 * 60, "nobody forgets it"
    assert bounds(pod, container) == BOUNDED | {"writes": {"/tmp", "/opt/airflow/backups"}}  # noqa: S108
    [volume] = [one for one in pod["volumes"] if one["name"] == "backups"]
    assert volume["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
    given = {one["name"]: one.get("value") for one in container["env"]}
    saving = {one["name"]: one.get("value") for one in SAVES["containers"][0]["env"]}
    assert given == {name: value for name, value in saving.items() if name != "WAREHOUSE_PASSWORD"}


@pytest.fixture(scope="module")
def rendered() -> list[dict[str, Any]]:
    """What the chart makes of the values, which it holds against its schema first."""
    chart, helm = os.environ.get("AIRFLOW_CHART"), shutil.which("helm")
    assert helm, "wants helm on the PATH"
    assert chart, "wants Airflow's chart 1.22.0 in the folder AIRFLOW_CHART"
    assert yaml.safe_load((Path(chart) / "Chart.yaml").read_text())["version"] == "1.22.0"
    command = [helm, "template", "greenery", chart, "--namespace", "greenery", "--values", HELM / "values.yaml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def pods(rendered: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each pod, and each of its containers."""
    for one in rendered:
        if one["kind"] in ("Deployment", "StatefulSet", "Job"):
            pod = one["spec"]["template"]["spec"]
            yield from ((pod, container) for container in (*(pod.get("initContainers") or ()), *pod["containers"]))


@pytest.mark.chart
def test_rendered_every_container_is_bounded(rendered: list[dict[str, Any]]) -> None:
    for pod, container in pods(rendered):
        found = bounds(pod, container)
        assert found.pop("writes") <= WRITABLE, container["name"]
        assert found == BOUNDED, container["name"]


@pytest.mark.chart
def test_rendered_a_container_gets_the_secrets_of_its_own_work(rendered: list[dict[str, Any]]) -> None:
    found = {container["name"]: secrets(container) for _, container in pods(rendered)}
    airflow = {name: KNOWS[name] | OF_THE_CHART for name in COMPONENTS}
    for name in ("api-server", "scheduler"):
        airflow[name] |= {JWT}
    groomers = {name: set() for name in found if name.endswith("-log-groomer")}
    ours = {name: KNOWS[name] for name in ("wait-for-migrations", "warehouse")}
    assert found == airflow | ours | groomers


@pytest.mark.chart
def test_rendered_who_administers_finds_airflows_configuration(rendered: list[dict[str, Any]]) -> None:
    [volume] = [one for one in ADMINISTER["spec"]["volumes"] if one["name"] == "config"]
    [there] = [one for one in rendered if one["kind"] == "ConfigMap" and "airflow.cfg" in one["data"]]
    assert volume["configMap"]["name"] == there["metadata"]["name"]


@pytest.mark.chart
def test_rendered_a_restore_stops_all_of_airflow(rendered: list[dict[str, Any]]) -> None:
    """By the labels that docs/operations.md selects."""
    running = [one["metadata"] for one in rendered if one["kind"] in ("Deployment", "StatefulSet")]
    chosen = [
        one["name"] for one in running if one["labels"].items() >= {"tier": "airflow", "release": "greenery"}.items()
    ]
    assert chosen == [one["name"] for one in running]
    assert "--selector tier=airflow,release=greenery" in (PROJECT_ROOT / "docs" / "operations.md").read_text()


@pytest.mark.chart
def test_rendered_nothing_may_ask_the_cluster(rendered: list[dict[str, Any]]) -> None:
    used = {pod["serviceAccountName"] for pod, _ in pods(rendered)}
    accounts = {one["metadata"]["name"]: one for one in rendered if one["kind"] == "ServiceAccount"}
    assert {name for name in used if accounts[name].get("automountServiceAccountToken", True)} == set()
    assert [one["metadata"]["name"] for one in rendered if one["kind"] in ("Role", "RoleBinding", "ClusterRole")] == []


@pytest.mark.chart
def test_rendered_the_workers_wait_for_no_database_that_they_do_not_know(rendered: list[dict[str, Any]]) -> None:
    [pod] = [pod for pod, container in pods(rendered) if container["name"] == "worker"]
    assert not pod.get("initContainers")
