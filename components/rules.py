"""The alerts: for each endpoint, for GPUs, for rollouts and the ledger; and the figures that are recorded. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from components.queries import Figures
from environments.infrastructure import AlarmsSpec
from environments.names import CONTROLLER_TICK_METRIC, LEDGER_METRIC, ROLLOUT_AGE_METRIC, ROLLOUT_PAUSED_METRIC
from environments.spec import SloSpec

Severity = Literal["page", "ticket"]
TICK_SILENCE_S = 300
# Codes that mean broken hardware. Source: NVIDIA, "XID Errors", recommended actions.
HARDWARE_XIDS = (48, 63, 64, 74, 79, 94, 95, 119, 120)


@dataclass(frozen=True)
class Alert:
    """An alert: `wait` is how long the expression must hold; `do` is what whoever is woken does first."""

    name: str
    expr: str
    wait: str
    severity: Severity
    summary: str
    do: str

    def rule(self, labels: Mapping[str, str]) -> dict[str, Any]:
        """Return the rule as Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.wait,
            "labels": {**labels, "severity": self.severity},
            "annotations": {"summary": self.summary, "do": self.do},
        }


@dataclass(frozen=True)
class Watched:
    """An endpoint that is watched: whose it is, what it promises, and the price of its GPUs if that is known."""

    figures: Figures
    team: str
    slo: SloSpec
    alarms: AlarmsSpec
    usd_per_gpu_hour: float | None = None


def group(name: str, rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a group of rules, evaluated together every 30 s."""
    return {"name": name, "interval": "30s", "rules": list(rules)}


def endpoint_groups(watched: Watched) -> list[dict[str, Any]]:
    """Return an endpoint's groups: what is recorded, then what is alerted on."""
    figures = watched.figures
    labels = {"environment": figures.environment, "team": watched.team, "endpoint": figures.endpoint}
    alerts = [*_traffic(watched), *(_tokens(watched) if figures.runtime == "vllm" else ()), *_capacity(watched)]
    alerts += _cost(watched)
    name = f"{figures.environment}-{figures.endpoint}"
    return [
        group(f"{name}-figures", _recorded(watched, labels)),
        group(f"{name}-alerts", [alert.rule(labels) for alert in alerts]),
    ]


def _recorded(watched: Watched, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    figures = watched.figures
    found = {"sluice:requests:rate5m": figures.requests(), "sluice:error_rate:5m": figures.error_rate()}
    if figures.runtime == "vllm":
        found |= {
            "sluice:ttft_seconds:p95": figures.ttft(),
            "sluice:itl_seconds:p95": figures.itl(),
            "sluice:e2e_seconds:p95": figures.e2e(),
            "sluice:generation_tokens:rate5m": figures.tokens("generation"),
        }
    if watched.usd_per_gpu_hour is not None:
        found["sluice:usd_per_1000_requests"] = figures.usd_per_1000(watched.usd_per_gpu_hour)
    return [{"record": record, "expr": expr, "labels": dict(labels)} for record, expr in found.items()]


def _traffic(watched: Watched) -> list[Alert]:
    figures, name = watched.figures, watched.figures.endpoint
    limit = watched.slo.error_rate or watched.alarms.error_rate
    fast = f"{figures.error_rate('5m')} > {14.4 * limit:g} and {figures.error_rate('1h')} > {14.4 * limit:g}"
    return [
        Alert(
            "EndpointErrorRateHigh",
            f"{figures.error_rate()} > {limit:g}",
            "10m",
            "ticket",
            f"{name}: more than {100 * limit:g} % of requests fail",
            "run `sluice status`; if a rollout is under way, the judge is on it; otherwise look at the pods' logs",
        ),
        # Burns a month's budget in two days. Source: Google SRE workbook, "Alerting on SLOs", multiwindow burn rates.
        Alert(
            "EndpointErrorBudgetBurning",
            fast,
            "2m",
            "page",
            f"{name}: errors at more than 14 times what the SLO allows",
            "run `sluice rollback` if a release moved within the hour",
        ),
        Alert(
            "EndpointHasNoPods",
            f"absent(up{{{figures.selector}}} == 1) and on() ({figures.requests()} > 0)",
            "2m",
            "page",
            f"{name}: requests arrive and no server answers",
            "look for pending pods: the pool may be out of GPUs",
        ),
    ]


def _tokens(watched: Watched) -> list[Alert]:
    figures, slo, alarms, name = watched.figures, watched.slo, watched.alarms, watched.figures.endpoint
    ttft_ms, itl_ms = slo.ttft_p95_ms or alarms.ttft_p95_ms, slo.itl_p95_ms or alarms.itl_p95_ms
    # A whole answer may take its first token and 500 more.
    whole_s = (ttft_ms + 500 * itl_ms) / 1000
    running = figures.gauge("vllm:num_requests_running")
    return [
        Alert(
            "EndpointFirstTokenSlow",
            f"{figures.ttft()} > {ttft_ms / 1000:g}",
            "10m",
            "page" if slo.ttft_p95_ms else "ticket",
            f"{name}: p95 of the first token is above {ttft_ms:g} ms",
            "compare waiting requests and prompt lengths with yesterday; raise replicas.max if the queue is long",
        ),
        Alert(
            "EndpointTokensSlow",
            f"{figures.itl()} > {itl_ms / 1000:g}",
            "10m",
            "page" if slo.itl_p95_ms else "ticket",
            f"{name}: p95 between tokens is above {itl_ms:g} ms",
            "look at the batch size and at the GPUs' clocks; a hot GPU slows down",
        ),
        Alert(
            "EndpointAnswersSlow",
            f"{figures.e2e()} > {whole_s:g}",
            "15m",
            "ticket",
            f"{name}: p95 of a whole answer is above {whole_s:g} s",
            "look at answer lengths: a prompt that rambles costs as much as a slow model",
        ),
        Alert(
            "EndpointThroughputCollapsed",
            f"{figures.tokens('generation')} < 1 and {running} > 0",
            "5m",
            "page",
            f"{name}: requests run and no tokens come out",
            "restart the slot's pods one by one; if it returns, roll back",
        ),
        Alert(
            "EndpointKvCacheFull",
            f"{figures.gauge('vllm:kv_cache_usage_perc', 'max')} > {alarms.kv_cache_usage:g}",
            "10m",
            "ticket",
            f"{name}: a server's KV cache is more than {100 * alarms.kv_cache_usage:g} % full",
            "lower max_num_seqs or max_model_len in the next release, or add replicas",
        ),
    ]


def _capacity(watched: Watched) -> list[Alert]:
    figures, name = watched.figures, watched.figures.endpoint
    limit = watched.alarms.waiting_requests
    return [
        Alert(
            "EndpointQueueLong",
            f"{figures.waiting()} > {limit}",
            "10m",
            "ticket",
            f"{name}: more than {limit} requests wait at each server",
            "autoscaling has reached replicas.max or the pool nodes.max: raise one of them",
        ),
        Alert(
            "EndpointMetricsMissing",
            f"up{{{figures.selector}}} == 0",
            "10m",
            "ticket",
            f"{name}: a server's metrics cannot be read",
            "the judge is blind without them: look at the pod and its NetworkPolicy",
        ),
    ]


def _cost(watched: Watched) -> list[Alert]:
    if watched.usd_per_gpu_hour is None:
        return []
    now = watched.figures.usd_per_1000(watched.usd_per_gpu_hour)
    selector = f'environment="{watched.figures.environment}",endpoint="{watched.figures.endpoint}"'
    week = f"avg_over_time(sluice:usd_per_1000_requests{{{selector}}}[7d])"
    return [
        Alert(
            "EndpointCostJumped",
            f"{now} > on() 2 * sum({week})",
            "2h",
            "ticket",
            f"{watched.figures.endpoint}: 1,000 requests cost twice last week's average",
            "lower replicas.min, or find out where the traffic went",
        )
    ]


def platform_group(environment: str, alarms: AlarmsSpec) -> dict[str, Any]:
    """Return the alerts that belong to no endpoint: GPUs, rollouts, the ledger and the controllers."""
    labels = {"environment": environment, "team": "platform"}
    return group(f"{environment}-platform", [a.rule(labels) for a in (*_gpus(alarms), *_rollouts(alarms))])


def _gpus(alarms: AlarmsSpec) -> list[Alert]:
    hot = alarms.gpu_temperature_c
    # The gauge keeps the last code for good, and most codes are a program's own fault.
    broken = " or ".join(f"DCGM_FI_DEV_XID_ERRORS == {code}" for code in HARDWARE_XIDS)
    counters = ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS")
    lost = " or ".join(f"increase({counter}[1h]) > 0" for counter in counters)
    return [
        Alert(
            "GpuXidError",
            f"({broken}) and changes(DCGM_FI_DEV_XID_ERRORS[1h]) > 0",
            "0m",
            "ticket",
            "GPU {{ $labels.gpu }} of {{ $labels.Hostname }} reported XID {{ $value }}",
            "cordon and drain the node, then delete it: Karpenter brings another one",
        ),
        Alert(
            "GpuMemoryBroken",
            f"{lost} or DCGM_FI_DEV_ROW_REMAP_FAILURE > 0",
            "0m",
            "page",
            "GPU {{ $labels.gpu }} of {{ $labels.Hostname }} has uncorrectable memory errors",
            "drain the node now: its answers may be wrong",
        ),
        Alert(
            "GpuHot",
            f"DCGM_FI_DEV_GPU_TEMP > {hot}",
            "10m",
            "ticket",
            f"GPU {{{{ $labels.gpu }}}} of {{{{ $labels.Hostname }}}} is hotter than {hot} °C",
            "drain the node; a hot GPU lowers its clocks and looks like a bad release",
        ),
        Alert(
            "GpuPodsPending",
            'sum by (namespace) (kube_pod_status_phase{phase="Pending"} * on(namespace, pod) group_left() '
            'max by (namespace, pod) (kube_pod_container_resource_requests{resource="nvidia_com_gpu"} > bool 0)) > 0',
            "15m",
            "ticket",
            "pods in {{ $labels.namespace }} wait for GPUs",
            "the pool is at nodes.max, or AWS has no such instances: try another zone or pool",
        ),
    ]


def _rollouts(alarms: AlarmsSpec) -> list[Alert]:
    stuck_s = 3600 * alarms.rollout_stuck_h
    return [
        Alert(
            "CanaryStuck",
            f"{ROLLOUT_AGE_METRIC} > {stuck_s:g}",
            "5m",
            "ticket",
            f"{{{{ $labels.endpoint }}}}: the rollout has not moved for {alarms.rollout_stuck_h:g} h",
            "run `sluice status`: it says which gate waits for what",
        ),
        Alert(
            "RolloutPaused",
            f"{ROLLOUT_PAUSED_METRIC} > 0",
            "30m",
            "ticket",
            "{{ $labels.endpoint }}: a rollout is paused and waits for a person",
            "run `sluice status`, then `sluice resume`, `sluice promote` or `sluice abort`",
        ),
        Alert(
            "LedgerBroken",
            f"{LEDGER_METRIC} == 0",
            "0m",
            "page",
            "the ledger's hash chain does not verify",
            "run `sluice ledger verify`; change nothing by hand until it is understood",
        ),
        Alert(
            "ControllerSilent",
            f"time() - max({CONTROLLER_TICK_METRIC}) > {TICK_SILENCE_S} or absent({CONTROLLER_TICK_METRIC})",
            "5m",
            "page",
            "no controller has reconciled for five minutes",
            "rollouts stand still and keep serving; look at the controllers' logs and at the store",
        ),
    ]
