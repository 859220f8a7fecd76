"""The few calls of Airflow's public API that the local commands make."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class AirflowApiError(RuntimeError):
    """Airflow refused a call, or a run did not end in time; the message says which."""


@dataclass
class AirflowApi:
    """A logged-in client, also for what has no method here (`client`). `page`: how many of a list it asks for."""

    url: str
    user: str
    password: str
    page: int = 100
    client: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)
        answer = self.client.post("/auth/token", json={"username": self.user, "password": self.password})
        self.client.headers["Authorization"] = f"Bearer {self._checked(answer)['access_token']}"

    def wait_for_dag(self, dag_id: str, *, limit_seconds: float = 120, since: datetime | None = None) -> None:
        """Wait until Airflow has read the DAG's file; since a moment, where it may know an earlier one by that name."""
        end = time.monotonic() + limit_seconds
        while not self._has_read(dag_id, since):
            errors = self._all("/api/v2/importErrors", "import_errors")
            if errors := [error for error in errors if error["filename"].endswith(f"{dag_id}.py")]:
                raise AirflowApiError(f"{errors[0]['filename']} does not import:\n{errors[0]['stack_trace']}")
            if time.monotonic() > end:
                raise AirflowApiError(
                    f"Airflow has not read {dag_id} after {limit_seconds:.0f} s; see .local/logs/dag-processor.log"
                )
            time.sleep(0.3)

    def _has_read(self, dag_id: str, since: datetime | None) -> bool:
        answer = self.client.get(f"/api/v2/dags/{dag_id}")
        if answer.status_code != 200 or answer.json()["is_stale"]:
            return False
        read = answer.json()["last_parsed_time"]
        return since is None or (read is not None and datetime.fromisoformat(read) > since)

    def parse_seconds(self, dag_id: str) -> float | None:
        """How long Airflow took to read the DAG's file the last time; None where it has not noted that."""
        return self._checked(self.client.get(f"/api/v2/dags/{dag_id}"))["last_parse_duration"]

    def tasks(self, dag_id: str) -> set[str]:
        """The ids of the tasks that Airflow draws now."""
        return {one["task_id"] for one in self._checked(self.client.get(f"/api/v2/dags/{dag_id}/tasks"))["tasks"]}

    def trigger(self, dag_id: str, params: dict[str, Any] | None = None) -> str:
        """Start a run now, with what the trigger form would say; returns its id."""
        answer = self.client.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": params or {}})
        return self._checked(answer)["dag_run_id"]

    def make(self, kind: str, made: dict[str, Any]) -> None:
        """Make a connection (of kind `connections`) or a variable (`variables`)."""
        self._checked(self.client.post(f"/api/v2/{kind}", json=made))

    def clear(self, dag_id: str, run_id: str, *task_ids: str, downstream: bool = False) -> None:
        """Let tasks of a run that ended run again, and with them what is downstream of them."""
        answer = self.client.post(
            f"/api/v2/dags/{dag_id}/clearTaskInstances",
            json={
                "dry_run": False,
                "dag_run_id": run_id,
                "task_ids": list(task_ids),
                "only_failed": False,
                "include_downstream": downstream,
                "reset_dag_runs": True,
            },
        )
        self._checked(answer)

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """A run as the API gives it."""
        return self._checked(self.client.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"))

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """The state of each task of a run."""
        tasks = self._all(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances", "task_instances")
        return {one["task_id"]: one["state"] for one in tasks}

    def wait_for_run(
        self, dag_id: str, run_id: str, tell: Callable[[int, int], None] | None = None, *, limit_seconds: float = 900
    ) -> str:
        """Wait until a run ended; returns its state. `tell` hears of progress: tasks that ended, of how many."""
        began, told = time.monotonic(), -1
        end = began + limit_seconds
        while time.monotonic() < end:
            with suppress(httpx.TimeoutException):  # a busy machine; the next look may do better
                state = self.run(dag_id, run_id)["state"]
                if state in ("success", "failed"):
                    return state
                if tell:
                    states = list(self.task_states(dag_id, run_id).values())
                    done = sum(state in ENDED for state in states)
                    if done > told:
                        tell(done, len(states))
                        told = done
            # To tell of a run, Airflow loads all of its tasks.
            time.sleep(max(0.5, (time.monotonic() - began) / 30))
        raise AirflowApiError(f"run {run_id} has not ended after {limit_seconds:.0f} s")

    def _all(self, path: str, kind: str) -> Iterator[dict[str, Any]]:
        """The whole of a list: Airflow tells of 100 at a time, whatever it is asked for (`maximum_page_limit`)."""
        told, total = 0, 1
        while told < total:
            asked = {"limit": self.page, "offset": told, "order_by": "id"}
            page = self._checked(self.client.get(path, params=asked))
            yield from page[kind]
            told, total = told + len(page[kind]), page["total_entries"] if page[kind] else 0

    def _checked(self, answer: httpx.Response) -> Any:
        if answer.is_error:
            raise AirflowApiError(
                f"Airflow answered {answer.status_code} to {answer.request.url.path}: {answer.text[:300]}"
            )
        return answer.json()
