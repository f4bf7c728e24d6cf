"""Grafana dashboards, typed: at least 15 figures for each endpoint, and one page for the GPUs and rollouts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.rules import Watched
from environments.names import LEDGER_METRIC, ROLLOUT_AGE_METRIC, ROLLOUT_PAUSED_METRIC

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders.dashboard import Dashboard

TIMESERIES_WIDTH, STAT_WIDTH = 8, 4


@dataclass(frozen=True)
class Series:
    """One line of a figure; `legend` may name labels as `{{slot}}`."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Figure:
    """One panel. `limit` draws a line at the promised value, in the panel's unit."""

    title: str
    unit: str
    series: tuple[Series, ...]
    limit: float | None = None
    stat: bool = False


def endpoint_figures(watched: Watched) -> list[tuple[str, list[Figure]]]:
    """Return an endpoint's figures in rows: what clients feel, how slots compare, what it holds and costs."""
    rows = [("At a glance", _glance(watched)), ("What clients feel", _clients(watched))]
    if watched.figures.runtime == "vllm":
        rows += [("Slots beside each other", _slots(watched)), ("Tokens and cache", _tokens(watched))]
    else:
        rows.append(("Server", _triton(watched)))
    return [*rows, ("Machines and money", _machines(watched))]


def _glance(watched: Watched) -> list[Figure]:
    f, slo = watched.figures, watched.slo
    selector = f'environment="{f.environment}",endpoint="{f.endpoint}"'
    return [
        Figure("Requests", "reqps", (Series(f.requests()),), stat=True),
        Figure("Errors", "percentunit", (Series(f.error_rate()),), slo.error_rate, stat=True),
        Figure("Ready servers", "short", (Series(f.ready()),), stat=True),
        Figure("Waiting requests", "short", (Series(f.waiting()),), watched.alarms.waiting_requests, stat=True),
        Figure("Rollout step's age", "s", (Series(f"max({ROLLOUT_AGE_METRIC}{{{selector}}})"),), stat=True),
        Figure("Paused rollouts", "short", (Series(f"sum({ROLLOUT_PAUSED_METRIC}{{{selector}}})"),), stat=True),
    ]


def _clients(watched: Watched) -> list[Figure]:
    f, slo = watched.figures, watched.slo
    found = [
        Figure("Requests a second", "reqps", (Series(f.requests(), "answered"), Series(f.failures(), "failed"))),
        Figure(
            "Error rate",
            "percentunit",
            (Series(f.error_rate(), "5m"), Series(f.error_rate("1h"), "1h")),
            slo.error_rate,
        ),
    ]
    if f.runtime == "vllm":
        found += [
            _quantiles("Time to first token", f.ttft, slo.ttft_p95_ms),
            _quantiles("Time between tokens", f.itl, slo.itl_p95_ms),
            _quantiles("Whole answer", f.e2e, None),
            Figure("Time in queue, p95", "s", (Series(f.queue_time(), "p95"),)),
        ]
    else:
        found.append(Figure("Mean time of a request", "s", (Series(f.triton_latency(), "mean"),)))
    return found


def _quantiles(title: str, quantile: Any, limit_ms: float | None) -> Figure:
    lines = tuple(Series(quantile(q), f"p{100 * q:g}") for q in (0.5, 0.95, 0.99))
    return Figure(title, "s", lines, limit_ms / 1000 if limit_ms else None)


def _slots(watched: Watched) -> list[Figure]:
    f = watched.figures
    by = "slot, release"
    legend = "{{slot}} {{release}}"
    done = f"sum by ({by}) (rate(vllm:request_success_total{{{f.selector}}}[5m]))"
    return [
        Figure("First token, p95, by slot", "s", (Series(f.ttft(by=by), legend),)),
        Figure("Between tokens, p95, by slot", "s", (Series(f.itl(by=by), legend),)),
        Figure("Requests finished, by slot", "reqps", (Series(done, legend),)),
    ]


def _tokens(watched: Watched) -> list[Figure]:
    f = watched.figures
    finished = f"sum by (finished_reason) (rate(vllm:request_success_total{{{f.selector}}}[5m]))"
    return [
        Figure(
            "Tokens a second",
            "short",
            (Series(f.tokens("generation"), "generated"), Series(f.tokens("prompt"), "read")),
        ),
        Figure(
            "KV cache in use",
            "percentunit",
            (Series(f.gauge("vllm:kv_cache_usage_perc", "max", by="slot"), "{{slot}}"),),
            watched.alarms.kv_cache_usage,
        ),
        Figure(
            "Running and waiting",
            "short",
            (
                Series(f.gauge("vllm:num_requests_running"), "running"),
                Series(f.gauge("vllm:num_requests_waiting"), "waiting"),
            ),
        ),
        Figure("Why answers ended", "reqps", (Series(finished, "{{finished_reason}}"),)),
    ]


def _triton(watched: Watched) -> list[Figure]:
    f = watched.figures
    rate = "sum by (slot) (rate({metric}{{{selector}}}[5m]))"
    shown = {
        "Requests executed, by slot": "nv_inference_request_success",
        "Requests failed, by slot": "nv_inference_request_failure",
        "Inferences, by slot": "nv_inference_count",
        "Batches executed, by slot": "nv_inference_exec_count",
    }
    found = [
        Figure(title, "reqps", (Series(rate.format(metric=metric, selector=f.selector), "{{slot}}"),))
        for title, metric in shown.items()
    ]
    return [*found, Figure("Waiting requests, by slot", "short", (Series(f.waiting(by="slot"), "{{slot}}"),))]


def _machines(watched: Watched) -> list[Figure]:
    f = watched.figures
    pods = f'namespace="{f.namespace}",pod=~"{f.endpoint}-.*"'
    found = [
        Figure("GPUs held", "short", (Series(f.gpus(), "GPUs"),)),
        Figure("GPU utilization", "percent", (Series(f"avg(DCGM_FI_DEV_GPU_UTIL{{{pods}}})", "mean"),)),
        Figure("GPU memory in use", "mbytes", (Series(f"max(DCGM_FI_DEV_FB_USED{{{pods}}})", "fullest"),)),
        Figure("GPU temperature", "celsius", (Series(f"max(DCGM_FI_DEV_GPU_TEMP{{{pods}}})", "hottest"),)),
    ]
    if watched.usd_per_gpu_hour is not None:
        price = f.usd_per_1000(watched.usd_per_gpu_hour)
        found.append(Figure("Cost of 1,000 requests", "currencyUSD", (Series(price, "USD"),)))
    return found


def platform_figures() -> list[tuple[str, list[Figure]]]:
    """Return the figures that belong to no endpoint."""
    gpu, used = "{{Hostname}}/{{gpu}}", "avg by (modelName) (DCGM_FI_DEV_GPU_UTIL)"
    return [
        (
            "GPUs",
            [
                Figure("Utilization", "percent", (Series(used, "{{modelName}}"),)),
                Figure("Temperature", "celsius", (Series("DCGM_FI_DEV_GPU_TEMP", gpu),)),
                Figure("Power", "watt", (Series("sum by (modelName) (DCGM_FI_DEV_POWER_USAGE)", "{{modelName}}"),)),
                Figure("XID errors", "short", (Series("DCGM_FI_DEV_XID_ERRORS", gpu),)),
            ],
        ),
        (
            "Rollouts and ledger",
            [
                Figure("Age of a rollout's step", "s", (Series(ROLLOUT_AGE_METRIC, "{{endpoint}} {{region}}"),)),
                Figure("Paused rollouts", "short", (Series(ROLLOUT_PAUSED_METRIC, "{{endpoint}}"),)),
                Figure("Ledger verifies", "short", (Series(f"min({LEDGER_METRIC})"),), stat=True),
            ],
        ),
    ]


def dashboard_json(uid: str, title: str, rows: Sequence[tuple[str, Sequence[Figure]]], *, tags: Sequence[str]) -> str:
    """Return a dashboard as Grafana reads it; the same figures give the same bytes."""
    from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, Row
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    page = Dashboard(title).uid(uid).tags(["sluice", *tags]).refresh("30s").time("now-6h", "now").readonly()
    page = page.with_variable(DatasourceVariable("source").label("Source").type("prometheus"))
    for name, figures in rows:
        page = page.with_row(Row(name))
        for figure in figures:
            page = _panel(page, figure)
    return json.dumps(page.build(), cls=JSONEncoder, sort_keys=True, indent=1)


def _panel(page: Dashboard, figure: Figure) -> Dashboard:
    """Add a figure to a page."""
    from grafana_foundation_sdk.builders import stat, timeseries
    from grafana_foundation_sdk.builders.common import GraphThresholdsStyleConfig
    from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
    from grafana_foundation_sdk.builders.prometheus import Dataquery
    from grafana_foundation_sdk.models.common import GraphTresholdsStyleMode
    from grafana_foundation_sdk.models.dashboard import DataSourceRef, Threshold, ThresholdsMode

    source = DataSourceRef(type_val="prometheus", uid="$source")
    steps = [Threshold(value=None, color="green")]
    steps += [Threshold(value=figure.limit, color="red")] if figure.limit is not None else []
    limits = ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
    queries = [
        Dataquery().ref_id(chr(65 + i)).expr(series.expr).legend_format(series.legend or "__auto")
        for i, series in enumerate(figure.series)
    ]
    panel: Any = stat.Panel().span(STAT_WIDTH).height(4) if figure.stat else timeseries.Panel().span(TIMESERIES_WIDTH)
    panel = panel.title(figure.title).unit(figure.unit).datasource(source).targets(queries).thresholds(limits)
    if figure.limit is not None and not figure.stat:
        panel = panel.thresholds_style(GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.LINE))
    return page.with_panel(panel)
