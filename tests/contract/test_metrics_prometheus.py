"""The Prometheus source against a real Prometheus that scrapes a real address."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from environments.errors import SluiceError
from reconciler.metrics.prometheus import PrometheusSource
from reconciler.ports import Sample
from tests.support.servers.http_stub import http_stub
from tests.support.servers.prometheus import running_prometheus

pytestmark = pytest.mark.engine
VARIABLES = {"release": "chat-1", "endpoint": "chat", "region": "eu"}
METRICS = b"""
clicks{release="chat-1"} 41
clicks{release="chat-0"} 80
shown{release="chat-1"} 1000
odd{release="chat-1"} NaN
"""
OWN_SAMPLES = """label_replace(clicks{release="$release"} / shown{release="$release"}, "sluice", "value", "", "")
    or label_replace(shown{release="$release"}, "sluice", "samples", "", "")"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusSource]:
    with (
        http_stub(lambda _: (200, METRICS)) as target,
        running_prometheus(tmp_path_factory.mktemp("prometheus"), target.removeprefix("http://")) as url,
    ):
        yield PrometheusSource(url)


async def first_sample(source: PrometheusSource, query: str, points: int = 1) -> Sample:
    """Read until there is something; the test's own time limit ends a wait for nothing."""
    while True:
        found = await source.read(query, VARIABLES, 60)
        if found is not None and found.samples >= points:
            return found
        await asyncio.sleep(0.1)


async def test_one_series_counts_the_points_it_had(source: PrometheusSource) -> None:
    found = await first_sample(source, 'clicks{release="$release"}', points=5)
    assert (found.value, found.samples < 400) == (41.0, True)


async def test_a_query_brings_its_own_samples(source: PrometheusSource) -> None:
    assert await first_sample(source, OWN_SAMPLES) == Sample(0.041, 1000)


async def test_nothing_is_nothing(source: PrometheusSource) -> None:
    await first_sample(source, 'clicks{release="$release"}')
    assert await source.read('clicks{release="none"}', VARIABLES, 60) is None
    assert await source.read('odd{release="$release"}', VARIABLES, 60) is None
    assert await source.read('clicks{release="$release"} / 0', VARIABLES, 60) is None


@pytest.mark.parametrize(
    ("query", "why"), [("clicks{", "parse error"), ("clicks", "2 series"), ("clicks[1m]", "a matrix")]
)
async def test_a_query_of_no_use_is_told(source: PrometheusSource, query: str, why: str) -> None:
    await first_sample(source, 'clicks{release="chat-0"}')
    with pytest.raises(SluiceError, match="METRIC-002") as refused:
        await source.read(query, VARIABLES, 60)
    assert why in refused.value.problem.why
