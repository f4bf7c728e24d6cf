"""Alerts: Prometheus itself checks and runs them, on series that should and should not wake somebody."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from components.dashboards import dashboard_json, endpoint_figures, platform_figures
from components.dcgm_counters import NAMES
from components.monitoring import Monitoring, MonitoringArgs
from components.queries import Figures
from components.rules import Watched, endpoint_groups, platform_group
from environments.infrastructure import AlarmsSpec
from environments.names import CONTROLLER_TICK_METRIC, LEDGER_METRIC, ROLLOUT_AGE_METRIC, ROLLOUT_PAUSED_METRIC
from environments.spec import SloSpec
from tests.components.mocked import OWNED, make
from tests.support.lifeline import missing

LABELS = 'environment="prod",sluice_endpoint="chat"'
GATEWAY = 'envoy_cluster_name="httproute/support-prod/chat/rule/0"'


def watched(runtime: str = "vllm") -> Watched:
    figures = Figures("prod", "support-prod", "chat", runtime)
    slo = SloSpec(ttft_p95_ms=800, itl_p95_ms=60, error_rate=0.01)
    return Watched(figures, "support", slo, AlarmsSpec(), usd_per_gpu_hour=1.2)


def groups() -> list[dict[str, Any]]:
    return [*endpoint_groups(watched()), platform_group("prod", AlarmsSpec())]


def promtool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        missing("promtool is not installed", "install the Debian package `prometheus`")
    return subprocess.run([str(program), *arguments], cwd=folder, capture_output=True, text=True, check=False)


def fires(folder: Path, series: Mapping[str, str], *, at: str) -> set[str]:
    """Return the alerts that fire at a moment; `series` are in promtool's notation, one value a minute."""
    names = sorted({rule["alert"] for g in groups() for rule in g["rules"] if "alert" in rule})
    (folder / "rules.json").write_text(json.dumps({"groups": groups()}))
    firing = set()
    expected = [{"eval_time": at, "alertname": name, "exp_alerts": []} for name in names]
    test = {
        "rule_files": ["rules.json"],
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": k, "values": v} for k, v in series.items()],
                "alert_rule_test": expected,
            }
        ],
    }
    (folder / "test.json").write_text(json.dumps(test))
    done = promtool(folder, "test", "rules", "test.json")
    output = done.stdout + done.stderr
    for name in names:
        if f"alertname: {name}," in output:
            firing.add(name)
    assert (done.returncode == 0) is not bool(firing), output
    return firing


CALM = {
    f'up{{{LABELS},slot="a"}}': "1+0x600",
    f'envoy_cluster_upstream_rq_xx{{{GATEWAY},envoy_response_code_class="2"}}': "0+6000x600",
    f'vllm:num_requests_waiting{{{LABELS},slot="a"}}': "0+0x600",
    f'vllm:num_requests_running{{{LABELS},slot="a"}}': "4+0x600",
    f'vllm:kv_cache_usage_perc{{{LABELS},slot="a"}}': "0.4+0x600",
    f'vllm:generation_tokens_total{{{LABELS},slot="a"}}': "0+60000x600",
    f'vllm:time_to_first_token_seconds_bucket{{{LABELS},slot="a",le="0.5"}}': "0+600x600",
    f'vllm:time_to_first_token_seconds_bucket{{{LABELS},slot="a",le="2.5"}}': "0+600x600",
    f'vllm:time_to_first_token_seconds_bucket{{{LABELS},slot="a",le="+Inf"}}': "0+600x600",
    f'{ROLLOUT_AGE_METRIC}{{endpoint="chat"}}': "60+0x600",
    f'{ROLLOUT_PAUSED_METRIC}{{endpoint="chat"}}': "0+0x600",
    LEDGER_METRIC: "1+0x600",
    CONTROLLER_TICK_METRIC: "0+60x600",
    'DCGM_FI_DEV_GPU_TEMP{gpu="0",Hostname="n"}': "60+0x600",
    'DCGM_FI_DEV_XID_ERRORS{gpu="0",Hostname="n"}': "0+0x600",
    'DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{gpu="0",Hostname="n"}': "0+0x600",
}
FAILED = f'envoy_cluster_upstream_rq_xx{{{GATEWAY},envoy_response_code_class="5"}}'
SLOW = f'vllm:time_to_first_token_seconds_bucket{{{LABELS},slot="a",le="0.5"}}'


def test_prometheus_accepts_every_rule(tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_text(
        json.dumps({"groups": [*groups(), *_renamed(endpoint_groups(watched("triton")))]})
    )
    done = promtool(tmp_path, "check", "rules", "rules.json")
    assert done.returncode == 0, done.stdout + done.stderr


def _renamed(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**g, "name": f"triton-{g['name']}"} for g in found]


def test_nothing_fires_while_all_is_well(tmp_path: Path) -> None:
    assert fires(tmp_path, CALM, at="8h") == set()


@pytest.mark.parametrize(
    ("changed", "alert"),
    [
        ({FAILED: "0+120x600"}, "EndpointErrorRateHigh"),
        ({FAILED: "0+1200x600"}, "EndpointErrorBudgetBurning"),
        ({SLOW: "0+300x600"}, "EndpointFirstTokenSlow"),
        ({f'vllm:num_requests_waiting{{{LABELS},slot="a"}}': "40+0x600"}, "EndpointQueueLong"),
        ({f'vllm:kv_cache_usage_perc{{{LABELS},slot="a"}}': "0.97+0x600"}, "EndpointKvCacheFull"),
        ({f'vllm:generation_tokens_total{{{LABELS},slot="a"}}': "9+0x600"}, "EndpointThroughputCollapsed"),
        ({f'up{{{LABELS},slot="a"}}': "0+0x600"}, "EndpointHasNoPods"),
        ({f'{ROLLOUT_AGE_METRIC}{{endpoint="chat"}}': "30000+60x600"}, "CanaryStuck"),
        ({f'{ROLLOUT_PAUSED_METRIC}{{endpoint="chat"}}': "1+0x600"}, "RolloutPaused"),
        ({LEDGER_METRIC: "0+0x600"}, "LedgerBroken"),
        ({CONTROLLER_TICK_METRIC: "60+0x600"}, "ControllerSilent"),
        ({'DCGM_FI_DEV_GPU_TEMP{gpu="0",Hostname="n"}': "95+0x600"}, "GpuHot"),
        ({'DCGM_FI_DEV_XID_ERRORS{gpu="0",Hostname="n"}': "0+0x450 79+0x150"}, "GpuXidError"),
        ({'DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS{gpu="0",Hostname="n"}': "0+1x600"}, "GpuMemoryBroken"),
        ({'DCGM_FI_DEV_ROW_REMAP_FAILURE{gpu="0",Hostname="n"}': "1+0x600"}, "GpuMemoryBroken"),
        ({'DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{gpu="0",Hostname="n"}': "0+1x600"}, "GpuMemoryBroken"),
    ],
)
def test_each_fault_wakes_somebody(tmp_path: Path, changed: dict[str, str], alert: str) -> None:
    assert alert in fires(tmp_path, CALM | changed, at="8h")


@pytest.mark.parametrize("series", ["79+0x600", "0+0x450 13+0x150"])
def test_an_old_code_and_a_programs_own_fault_wake_nobody(tmp_path: Path, series: str) -> None:
    xid = {'DCGM_FI_DEV_XID_ERRORS{gpu="0",Hostname="n"}': series}
    assert fires(tmp_path, CALM | xid, at="8h") == set()


def test_alerts_and_pages_ask_for_counters_that_the_exporter_reads() -> None:
    rows = [*endpoint_figures(watched()), *platform_figures()]
    texts = [json.dumps(groups()), *(s.expr for _, figures in rows for figure in figures for s in figure.series)]
    asked = {name for text in texts for name in re.findall(r"DCGM_FI_[A-Z_]+", text)}
    assert asked
    assert asked <= NAMES


def test_missing_data_is_no_zero(tmp_path: Path) -> None:
    """Without traffic no rate says anything; without a controller's metrics, silence itself is the alarm."""
    assert fires(tmp_path, {f'up{{{LABELS},slot="a"}}': "1+0x600"}, at="8h") == {"ControllerSilent"}


def test_a_cost_that_doubles_is_told(tmp_path: Path) -> None:
    answered = f'envoy_cluster_upstream_rq_xx{{{GATEWAY},envoy_response_code_class="2"}}'
    dear = {answered: "0+6000x270 1620000+1x330"}
    assert "EndpointCostJumped" in fires(tmp_path, CALM | dear, at="8h")


def test_every_alert_says_whose_it_is_how_bad_it_is_and_what_to_do() -> None:
    for found in groups():
        for rule in (r for r in found["rules"] if "alert" in r):
            assert {"environment", "team", "severity"} <= set(rule["labels"]), rule
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["do"]


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


def test_prometheus_can_parse_every_figure(tmp_path: Path) -> None:
    rows = [*endpoint_figures(watched()), *endpoint_figures(watched("triton")), *platform_figures()]
    series = [s.expr for _, figures in rows for figure in figures for s in figure.series]
    rules = [{"record": f"figure:{i}", "expr": expr} for i, expr in enumerate(series)]
    (tmp_path / "figures.json").write_text(json.dumps({"groups": [{"name": "figures", "rules": rules}]}))
    done = promtool(tmp_path, "check", "rules", "figures.json")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_cluster_gets_rules_a_page_and_a_route_for_each() -> None:
    args = MonitoringArgs("eu-west-1", [watched()], AlarmsSpec(), {"support": "arn:topic"}, "monitoring", OWNED)
    made = make(lambda: Monitoring("monitoring", args))
    assert {m.at("metadata.name") for m in made.of("PrometheusRule")} == {"sluice-platform", "sluice-chat"}
    assert {m.at("metadata.name") for m in made.of("ConfigMap")} == {"dashboard-platform", "dashboard-chat"}
    route = made.one("AlertmanagerConfig")
    assert route.at("spec.receivers.0.snsConfigs.0.topicARN") == "arn:topic"
