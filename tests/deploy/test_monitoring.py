"""What deploy/monitoring ships: PromQL, JSON and YAML, which name no gauge that the data-health page does not serve."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from include.settings import HEALTH_PATH, PROJECT_ROOT
from plugins.data_health.monitor import GAUGES, router

FOLDER = PROJECT_ROOT / "deploy" / "monitoring"
PROMETHEUS = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
[SCRAPED] = PROMETHEUS["scrape_configs"]
[RULES] = [group["rules"] for group in yaml.safe_load((FOLDER / "greenery_rules.yaml").read_text())["groups"]]
DASHBOARD = json.loads((FOLDER / "grafana_dashboard.json").read_text())
ASKED = [rule["expr"] for rule in RULES]
SHOWN = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
SERVED = {gauge.name for gauge in GAUGES}


def series_of(expression: str) -> set[str]:
    """The series that an expression reads. Raises ValueError for what is no PromQL."""
    pytest.importorskip("promql_parser", reason="`make install` brings it")
    import promql_parser

    found = set()

    def visit(node: object) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name)

    promql_parser.walk(promql_parser.parse(expression), pre_visit=visit)
    return found


@pytest.mark.parametrize("expression", ASKED + SHOWN)
def test_what_is_asked_is_promql_on_series_that_there_are(expression: str) -> None:
    assert series_of(expression) <= SERVED | {"up"}


def test_every_gauge_has_an_alert_or_is_drawn() -> None:
    assert {name for name in SERVED if not re.search(rf"\b{name}\b", str(ASKED + SHOWN))} == set()


def test_prometheus_asks_where_the_page_answers_and_as_whom_it_lets_in() -> None:
    paths = {route.path for route in router.routes}
    assert SCRAPED["metrics_path"] in {f"{HEALTH_PATH}{path}" for path in paths}
    assert SCRAPED["authorization"]["type"] == "Bearer"
    assert PROMETHEUS["rule_files"] == ["greenery_rules.yaml"]
    silent = next(rule for rule in RULES if rule["alert"] == "GreenerySilent")
    assert f'up{{job="{SCRAPED["job_name"]}"}}' in silent["expr"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_how_soon_somebody_has_to_look(rule: dict) -> None:
    assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "description"}


def test_a_dashboard_reads_from_the_prometheus_that_somebody_chooses() -> None:
    [chosen] = DASHBOARD["templating"]["list"]
    assert (chosen["type"], chosen["query"]) == ("datasource", "prometheus")
    sources = [one["datasource"] for panel in DASHBOARD["panels"] for one in (panel, *panel["targets"])]
    assert {source["uid"] for source in sources} == {f"${{{chosen['name']}}}"}
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
