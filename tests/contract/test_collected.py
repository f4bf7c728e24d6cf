"""What proxies and servers count, read from a real Prometheus that scrapes small servers in their place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from environments.errors import SluiceError
from environments.names import PROXY_NAMESPACE
from reconciler.kubernetes import Body, Kind
from reconciler.metrics.prometheus import PrometheusSource
from reconciler.platforms.kubernetes.collected import CollectedServers, CollectedStats
from reconciler.platforms.kubernetes.reach import Reach
from reconciler.platforms.kubernetes.traffic import Counted, Place, Told, Totals
from reconciler.ports import SlotCounts
from reconciler.runtimes.triton.runtime import TritonRuntime
from reconciler.runtimes.vllm import VllmRuntime
from tests.support.servers.http_stub import Asked, http_stub
from tests.support.servers.prometheus import running_prometheus

pytestmark = [pytest.mark.engine, pytest.mark.timeout(120)]
T = TypeVar("T")
NAMESPACE = "support-prod"
_JOB = """
  - job_name: {pod}
    fallback_scrape_protocol: PrometheusText0.0.4
    static_configs: [{{targets: ["{target}"], labels: {{namespace: {namespace}, pod: {pod}}}}}]
"""


@dataclass
class Scraped:
    """What each pod says to whoever scrapes it; one without a text does not answer."""

    texts: dict[str, str] = field(default_factory=dict)

    def answer(self, pod: str) -> Callable[[Asked], tuple[int, object]]:
        """Return what serves a pod's metrics."""

        def serve(asked: Asked) -> tuple[int, object]:
            text = self.texts.get(pod)
            return (200, text.encode()) if text is not None else (503, None)

        return serve


PODS = {"envoy-1": PROXY_NAMESPACE, "envoy-2": PROXY_NAMESPACE, "chat-a-1": NAMESPACE, "chat-b-1": NAMESPACE}


def proxy(*, success: int, error: int = 0, active: int = 0, address: str = "10.0.0.1:8000", uptime: int = 9) -> str:
    """Return what a proxy exposes of one server of the endpoint `chat`, and of a neighbour's."""
    rows = [f"envoy_server_uptime{{}} {uptime}"]
    for route, times in (("chat/rule/0", 1), ("chat-two/rule/0", 7)):
        labels = f'envoy_cluster_name="httproute/{NAMESPACE}/{route}",envoy_endpoint_address="{address}"'
        for what, value in (
            ("success", success),
            ("error", error),
            ("total", success + error + active),
            ("active", active),
        ):
            rows.append(f"envoy_cluster_endpoint_rq_{what}{{{labels}}} {value * times}")
    return "\n".join(rows) + "\n"


def server(answers: int, *, started: float = 1.0, rejected: int = 0) -> str:
    """Return what a vLLM server exposes, each answer's first token within half a second."""
    rows = [f"process_start_time_seconds {started}"]
    for name in ("time_to_first_token", "inter_token_latency"):
        rows += [f'vllm:{name}_seconds_bucket{{engine="0",le="{le}"}} {answers}' for le in ("0.5", "+Inf")]
    rows += [f'vllm:{name}{{engine="0"}} 0' for name in ("num_requests_running", "num_requests_waiting")]
    rows.append('vllm:kv_cache_usage_perc{engine="0"} 0.1')
    for status, value in (("2xx", answers), ("4xx", rejected)):
        rows.append(f'http_requests_total{{handler="/v1/chat/completions",status="{status}"}} {value}')
    return "\n".join(rows) + "\n"


class Cluster:
    """A `KubeReader` of the proxies' pods alone."""

    def __init__(self, *names: str) -> None:
        self.names = names

    async def list(self, kind: Kind, namespace: str = "", *, labels: str = "") -> tuple[Body, ...]:
        """Return pods that are ready."""
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        return tuple({"metadata": {"name": name, "uid": name}, "status": status} for name in self.names)


@pytest.fixture(scope="module")
def scraped() -> Scraped:
    return Scraped()


@pytest.fixture(scope="module")
def source(scraped: Scraped, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusSource]:
    folder: Path = tmp_path_factory.mktemp("prometheus")
    stubs = {pod: http_stub(scraped.answer(pod)) for pod in PODS}
    targets = {pod: stub.__enter__().removeprefix("http://") for pod, stub in stubs.items()}
    jobs = "".join(_JOB.format(pod=pod, target=targets[pod], namespace=PODS[pod]) for pod in PODS)
    try:
        with running_prometheus(folder, more=f"scrape_configs:{jobs}") as url:
            yield PrometheusSource(url)
    finally:
        for stub in stubs.values():
            stub.__exit__(None, None, None)


async def until(read: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> T:
    """Read until it is so; the test's own time limit ends a wait for nothing."""
    while True:
        try:
            found = await read()
        except SluiceError as error:
            if not error.retryable:
                raise
        else:
            if holds(found):
                return found
        await asyncio.sleep(0.1)


def stats(source: PrometheusSource, *names: str) -> CollectedStats:
    return CollectedStats(Cluster(*names), source)  # type: ignore[arg-type]


async def test_proxies_are_read_with_what_is_in_flight_and_no_neighbours(
    source: PrometheusSource, scraped: Scraped
) -> None:
    scraped.texts |= {"envoy-1": proxy(success=10, error=2, active=3), "envoy-2": proxy(success=5, active=1)}
    wanted = {Place("envoy-1", "10.0.0.1"): Counted(12, 2, 3, 15), Place("envoy-2", "10.0.0.1"): Counted(5, 0, 1, 6)}
    both = stats(source, "envoy-1", "envoy-2")
    told = await until(lambda: both.read(NAMESPACE, "chat"), lambda told: told.readings == wanted)
    assert told.age_s < 30
    counts = Totals().take("chat", {"10.0.0.1": "a"}, told)
    assert counts["a"].in_flight == 4


async def test_a_proxy_that_nobody_scrapes_makes_no_reading(source: PrometheusSource, scraped: Scraped) -> None:
    scraped.texts["envoy-1"] = proxy(success=1)
    await until(lambda: stats(source, "envoy-1").read(NAMESPACE, "chat"), lambda told: True)
    with pytest.raises(SluiceError, match=r"KUBE-017(.|\n)*no samples of envoy-9") as told:
        await stats(source, "envoy-1", "envoy-9").read(NAMESPACE, "chat")
    assert told.value.retryable


async def test_counts_of_a_proxy_that_falls_silent_grow_old_and_say_where_to_look(
    source: PrometheusSource, scraped: Scraped
) -> None:
    scraped.texts["envoy-1"] = proxy(success=77, active=9)
    one = stats(source, "envoy-1")

    def seen(told: Told) -> int:
        return sum(counted.requests for counted in told.readings.values())

    await until(lambda: one.read(NAMESPACE, "chat"), lambda told: seen(told) == 77)
    del scraped.texts["envoy-1"]
    old = await until(lambda: one.read(NAMESPACE, "chat"), lambda told: told.age_s > 2)
    assert seen(old) == 77, "what it counted last is not lost"
    assert all(counted.active == 0 for counted in old.readings.values()), "what was in flight is not of now"
    assert f'up{{namespace="{PROXY_NAMESPACE}",pod="envoy-1"}}' in old.look_at


async def test_a_proxy_that_begins_again_takes_nothing_from_the_sum(source: PrometheusSource, scraped: Scraped) -> None:
    totals, slots = Totals(), {"10.0.0.2": "a"}
    one = stats(source, "envoy-2")

    async def read() -> SlotCounts:
        return totals.take("chat", slots, await one.read(NAMESPACE, "chat"))["a"]

    def exposed(text: str) -> Callable[[Told], bool]:
        wanted = int(text.split('chat/rule/0",envoy_endpoint_address="10.0.0.2:8000"} ')[1].split("\n")[0])
        place = Place("envoy-2", "10.0.0.2")
        return lambda told: told.readings.get(place, Counted()).requests == wanted

    for text, wanted in (
        (proxy(success=1000, address="10.0.0.2:8000"), 0),
        (proxy(success=1040, address="10.0.0.2:8000"), 40),
        (proxy(success=7, address="10.0.0.2:8000"), 47),
    ):
        scraped.texts["envoy-2"] = text
        await until(lambda: one.read(NAMESPACE, "chat"), exposed(text))
        assert (await read()).requests == wanted


async def test_servers_are_read_with_their_age_and_their_own_restarts(
    source: PrometheusSource, scraped: Scraped
) -> None:
    scraped.texts |= {"chat-a-1": server(40, rejected=3), "chat-b-1": server(5, started=2.0)}
    servers, pods = CollectedServers(source, Reach(source)), ["chat-a-1", "chat-b-1", "chat-b-2"]

    async def read() -> Mapping[str, SlotCounts]:
        found = await servers.read(NAMESPACE, "chat", pods, VllmRuntime())
        assert found is not None
        return found

    found = await until(read, lambda found: len(found) == 2 and all(each.requests for each in found.values()))
    assert found["chat-a-1"].ttft_s == {"0.5": 40, "+Inf": 40}
    assert (found["chat-a-1"].requests, found["chat-a-1"].rejected) == (43, 3)
    assert found["chat-a-1"].epoch != found["chat-b-1"].epoch
    assert max(each.age_s for each in found.values()) < 30


def triton(answers: int, *, loaded_s: float = 1.25) -> str:
    """Return what a Triton server exposes that serves `chat` and a step of it."""
    rows = [f'nv_model_load_duration_secs{{model="chat",version="1"}} {loaded_s}']
    for model, count in (("chat", answers), ("chat-tokenizer", 9000)):
        rows.append(f'nv_inference_request_success{{model="{model}",version="1"}} {count}')
        rows.append(f'nv_inference_request_failure{{model="{model}",reason="BACKEND",version="1"}} 2')
        rows.append(f'nv_inference_request_failure{{model="{model}",reason="REJECTED",version="1"}} 3')
    return "\n".join(rows) + "\n"


async def test_servers_of_triton_are_read_by_their_endpoints_model(source: PrometheusSource, scraped: Scraped) -> None:
    scraped.texts |= {"chat-a-1": triton(40), "chat-b-1": triton(7, loaded_s=2.5)}
    servers = CollectedServers(source, Reach(source))

    async def read() -> Mapping[str, SlotCounts]:
        found = await servers.read(NAMESPACE, "chat", ["chat-a-1", "chat-b-1"], TritonRuntime())
        assert found is not None
        return found

    found = await until(read, lambda found: len(found) == 2 and all(each.requests for each in found.values()))
    told = {pod: (each.requests, each.errors, each.rejected) for pod, each in found.items()}
    assert told == {"chat-a-1": (45, 2, 3), "chat-b-1": (12, 2, 3)}
    assert found["chat-a-1"].epoch != found["chat-b-1"].epoch
    assert max(each.age_s for each in found.values()) < 30


async def test_another_namespaces_servers_are_nobodys(source: PrometheusSource, scraped: Scraped) -> None:
    scraped.texts["chat-a-1"] = server(1)
    assert await CollectedServers(source, Reach(source)).read("other-prod", "chat", ["chat-a-1"], VllmRuntime()) == {}
