"""Dashboards, alerts and autoscaling ask a real Prometheus for what vLLM, Triton, Envoy, DCGM and we expose."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from components.dashboards import dashboard_json, endpoint_figures, platform_figures
from components.queries import Figures
from components.rules import Watched, endpoint_groups, platform_group
from environments.infrastructure import AlarmsSpec
from environments.spec import SloSpec
from tests.support import exposed
from tests.support.servers.prometheus import running_prometheus

pytestmark = [pytest.mark.engine, pytest.mark.xdist_group("prometheus")]

MINUTES = 70
_RECORDED_BY_RULES = re.compile(r"sluice:")


def watched(endpoint: str, runtime: str) -> Watched:
    figures = Figures("prod", exposed.NAMESPACE, endpoint, runtime)
    return Watched(figures, "support", SloSpec(ttft_p95_ms=800), AlarmsSpec(), usd_per_gpu_hour=1.2)


WATCHED = (watched("chat", "vllm"), watched("embed", "triton"))


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every panel of every page, as Grafana reads it."""
    pages = {w.figures.endpoint: endpoint_figures(w) for w in WATCHED} | {"platform": platform_figures()}
    for name, rows in pages.items():
        for panel in json.loads(dashboard_json(name, name, rows, tags=[]))["panels"]:
            if panel["type"] != "row":
                yield f"{name}: {panel['title']}", panel


def targets() -> list[Any]:
    """Return every query of every panel, as cases of a test."""
    found = [(f"{name} {target['refId']}", target) for name, panel in panels() for target in panel["targets"]]
    return [pytest.param(target, id=name) for name, target in found]


class Prometheus:
    """A Prometheus with an hour of recorded samples, asked at the moment of the last one."""

    def __init__(self, url: str, at_s: int) -> None:
        self._url, self._at_s = url, at_s

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression gives now."""
        found: list[dict[str, Any]] = self._get("query", query=expression, time=self._at_s)["result"]
        return found

    def selectors(self, expression: str) -> list[str]:
        """Return the series selectors inside an expression, as Prometheus's own parser sees them."""
        return list(_selectors(self._get("parse_query", query=expression)))

    def _get(self, what: str, **parameters: object) -> Any:
        url = f"{self._url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{parameters}: {refused.read().decode()}") from refused


def _selectors(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for inner in node:
            yield from _selectors(inner)
    elif isinstance(node, dict):
        if node.get("type") in ("vectorSelector", "matrixSelector"):
            matchers = ",".join(f"{m['name']}{m['type']}{json.dumps(m['value'])}" for m in node["matchers"])
            yield f"{{{matchers}}}"
        for inner in node.values():
            yield from _selectors(inner)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Return a real Prometheus that holds what everything exposes."""
    folder, end_s = tmp_path_factory.mktemp("prometheus"), int(time.time())
    data = exposed.backfill(folder, exposed.everything(), end_s=end_s, minutes=MINUTES)
    with running_prometheus(folder, data=data) as url:
        yield Prometheus(url, end_s)


@pytest.mark.parametrize("target", targets())
def test_every_query_of_every_page_returns_data(target: dict[str, Any], prometheus: Prometheus) -> None:
    found = prometheus.query(target["expr"])
    assert found, f"no data: {target['expr']}"
    assert all(series["value"][1] != "NaN" for series in found), found


@pytest.mark.parametrize("target", targets())
def test_every_legend_names_labels_that_the_lines_have(target: dict[str, Any], prometheus: Prometheus) -> None:
    named = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", target["legendFormat"]))
    assert all(named <= set(series["metric"]) for series in prometheus.query(target["expr"]))


def rules() -> Iterator[tuple[str, dict[str, Any]]]:
    groups = [*(g for w in WATCHED for g in endpoint_groups(w)), platform_group("prod", AlarmsSpec())]
    for group in groups:
        for rule in group["rules"]:
            yield f"{group['name']}: {rule.get('alert') or rule['record']}", rule


@pytest.mark.parametrize("rule", [pytest.param(rule, id=name) for name, rule in rules()])
def test_every_rule_reads_what_is_exposed(rule: dict[str, Any], prometheus: Prometheus) -> None:
    """Take each rule apart: an alert over a name or a label that nobody exposes never fires."""
    selectors = [s for s in prometheus.selectors(rule["expr"]) if not _RECORDED_BY_RULES.search(s)]
    assert selectors
    assert [s for s in selectors if not prometheus.query(s)] == []


@pytest.mark.parametrize("rule", [pytest.param(rule, id=name) for name, rule in rules() if "record" in rule])
def test_every_figure_that_is_recorded_has_a_value(rule: dict[str, Any], prometheus: Prometheus) -> None:
    assert [series["value"][1] for series in prometheus.query(rule["expr"])] not in ([], ["NaN"])


@pytest.mark.parametrize("rule", [pytest.param(rule, id=name) for name, rule in rules() if "alert" in rule])
def test_every_alert_tells_labels_that_its_samples_have(rule: dict[str, Any], prometheus: Prometheus) -> None:
    """Whoever is woken by `GPU 0 of {{ $labels.Hostname }}` must read a name there."""
    named = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    found = [series for s in prometheus.selectors(rule["expr"]) for series in prometheus.query(s)]
    there = {label for series in found for label in series["metric"]}
    assert named <= there


def test_a_name_that_nobody_exposes_is_found(prometheus: Prometheus) -> None:
    """Prove that these tests can fail: a metric's old name, and a label that is not there."""
    assert prometheus.selectors("rate(vllm:gpu_cache_usage_perc[5m]) > 1") == ['{__name__="vllm:gpu_cache_usage_perc"}']
    assert prometheus.query("vllm:gpu_cache_usage_perc") == []
    assert prometheus.query('up{endpoint="chat"}') == []
