"""Rules and pages as a cluster gets them: accepted by Prometheus, about counters that are read, the same each time."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from components.dashboards import dashboard_json, endpoint_figures, platform_figures
from components.dcgm_counters import NAMES
from components.monitoring import Monitoring, MonitoringArgs
from environments.infrastructure import AlarmsSpec
from tests.components.mocked import OWNED, make
from tests.components.test_alerts import groups, watched
from tests.support import promtool


@pytest.mark.parametrize("runtime", ["vllm", "triton"])
def test_prometheus_accepts_every_rule(runtime: str, tmp_path: Path) -> None:
    assert promtool.refused(tmp_path, groups(runtime)) == ""


def test_alerts_and_pages_ask_for_counters_that_the_exporter_reads() -> None:
    rows = [*endpoint_figures(watched()), *platform_figures()]
    texts = [json.dumps(groups()), *(s.expr for _, figures in rows for figure in figures for s in figure.series)]
    asked = {name for text in texts for name in re.findall(r"DCGM_FI_[A-Z_]+", text)}
    assert asked
    assert asked <= NAMES


@pytest.mark.parametrize("runtime", ["vllm", "triton"])
def test_an_endpoints_page_has_at_least_15_figures(runtime: str) -> None:
    rows = endpoint_figures(watched(runtime))
    page = json.loads(dashboard_json("uid", "title", rows, tags=["prod"]))
    panels = [p for p in page["panels"] if p["type"] != "row"]
    assert len(panels) == sum(len(figures) for _, figures in rows) >= 15
    assert all(target["expr"] for p in panels for target in p["targets"])
    assert len({p["title"] for p in panels}) == len(panels)


def test_the_same_figures_give_the_same_bytes() -> None:
    pages = {dashboard_json("uid", "title", platform_figures(), tags=[]) for _ in range(3)}
    assert len(pages) == 1


def test_a_cluster_gets_rules_a_page_and_a_route_for_each() -> None:
    args = MonitoringArgs("eu-west-1", [watched()], AlarmsSpec(), {"support": "arn:topic"}, "monitoring", OWNED)
    made = make(lambda: Monitoring("monitoring", args))
    assert {m.at("metadata.name") for m in made.of("PrometheusRule")} == {"sluice-platform", "sluice-chat"}
    assert {m.at("metadata.name") for m in made.of("ConfigMap")} == {"dashboard-platform", "dashboard-chat"}
    route = made.one("AlertmanagerConfig")
    assert route.at("spec.receivers.0.snsConfigs.0.topicARN") == "arn:topic"
