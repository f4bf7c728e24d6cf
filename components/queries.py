"""What an endpoint's figures are called in Prometheus: one expression for alerts and dashboards alike. Pure."""

from __future__ import annotations

from dataclasses import dataclass

WINDOW = "5m"


@dataclass(frozen=True)
class Figures:
    """The expressions of one endpoint. Rates are per second, times in seconds, shares between 0 and 1.

    An expression over no traffic has no value: a division by nothing is no sample, never a zero.
    """

    environment: str
    namespace: str
    endpoint: str
    runtime: str
    gpus_per_replica: int = 1

    @property
    def selector(self) -> str:
        """Return the labels that the endpoint's PodMonitor puts on every sample."""
        return f'environment="{self.environment}",sluice_endpoint="{self.endpoint}"'

    @property
    def gateway(self) -> str:
        """Return the labels of Envoy's clusters for the endpoint's route, all its rules."""
        return f'envoy_cluster_name=~"httproute/{self.namespace}/{self.endpoint}/rule/.*"'

    def requests(self, window: str = WINDOW) -> str:
        """Return the rate of answered requests at the gateway."""
        return f"sum(rate(envoy_cluster_upstream_rq_xx{{{self.gateway}}}[{window}]))"

    def failures(self, window: str = WINDOW) -> str:
        """Return the rate of requests that the gateway answered with 5xx."""
        return f'sum(rate(envoy_cluster_upstream_rq_xx{{{self.gateway},envoy_response_code_class="5"}}[{window}]))'

    def error_rate(self, window: str = WINDOW) -> str:
        """Return the share of requests that failed; 0 when some were answered and none failed."""
        return f"({self.failures(window)} or 0 * {self.requests(window)}) / ({self.requests(window)} > 0)"

    def quantile(self, metric: str, quantile: float, *, by: str = "") -> str:
        """Return a quantile of a vLLM histogram; `by` keeps a label such as `slot`."""
        labels = f"le, {by}" if by else "le"
        buckets = f"sum by ({labels}) (rate({metric}_bucket{{{self.selector}}}[{WINDOW}]))"
        return f"histogram_quantile({quantile:g}, {buckets})"

    def ttft(self, quantile: float = 0.95, *, by: str = "") -> str:
        """Return the time to the first token."""
        return self.quantile("vllm:time_to_first_token_seconds", quantile, by=by)

    def itl(self, quantile: float = 0.95, *, by: str = "") -> str:
        """Return the time between two tokens."""
        return self.quantile("vllm:inter_token_latency_seconds", quantile, by=by)

    def e2e(self, quantile: float = 0.95, *, by: str = "") -> str:
        """Return the time of a whole answer."""
        return self.quantile("vllm:e2e_request_latency_seconds", quantile, by=by)

    def queue_time(self, quantile: float = 0.95) -> str:
        """Return the time that a request waits before the model begins."""
        return self.quantile("vllm:request_queue_time_seconds", quantile)

    def tokens(self, kind: str) -> str:
        """Return tokens a second; `kind` is `generation` or `prompt`."""
        return f"sum(rate(vllm:{kind}_tokens_total{{{self.selector}}}[{WINDOW}]))"

    def gauge(self, metric: str, how: str = "sum", *, by: str = "") -> str:
        """Return a gauge over all pods; `how` is sum, avg or max."""
        grouped = f" by ({by})" if by else ""
        return f"{how}{grouped}({metric}{{{self.selector}}})"

    def waiting(self, *, by: str = "") -> str:
        """Return waiting requests, on average for each server."""
        metric = "nv_inference_pending_request_count" if self.runtime == "triton" else "vllm:num_requests_waiting"
        return self.gauge(metric, "avg", by=by)

    def ready(self) -> str:
        """Return ready pods; every one of them is scraped."""
        return f"count(up{{{self.selector}}} == 1)"

    def gpus(self) -> str:
        """Return the GPUs that the endpoint's pods hold."""
        return f"{self.gpus_per_replica} * {self.ready()}"

    def usd_per_1000(self, usd_per_gpu_hour: float) -> str:
        """Return what 1,000 requests cost: GPUs held, paid by the hour, over requests answered in that hour."""
        hour = f"sum(increase(envoy_cluster_upstream_rq_xx{{{self.gateway}}}[1h]))"
        return f"1000 * {usd_per_gpu_hour:g} * {self.gpus()} / ({hour} > 0)"

    def triton_latency(self) -> str:
        """Return Triton's mean time for a request, queueing included; it has no histogram of it."""
        spent = f"sum(rate(nv_inference_request_duration_us{{{self.selector}}}[{WINDOW}]))"
        done = f"sum(rate(nv_inference_request_success{{{self.selector}}}[{WINDOW}]))"
        return f"{spent} / ({done} > 0) / 1e6"
