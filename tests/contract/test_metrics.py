"""Metric sources: a value with its number of samples, or nothing, or a coded error; never zero for missing data."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from environments.errors import SluiceError
from environments.spec import LocalRegion
from reconciler.metrics import answers
from reconciler.metrics.http import HttpSource
from reconciler.metrics.prometheus import PrometheusSource
from reconciler.metrics.select import SOURCES, sources_of
from reconciler.metrics.variables import substitute
from reconciler.ports import Sample
from tests.support.servers.http_stub import Answer, Asked, http_stub

VARIABLES = {"release": "chat-1", "endpoint": "chat", "region": "eu"}
Series = list[tuple[dict[str, str], Any]]


def vector(*series: tuple[dict[str, str], Any]) -> Answer:
    result = [{"metric": labels, "value": [1795258514.1, str(value)]} for labels, value in series]
    return 200, {"status": "success", "data": {"resultType": "vector", "result": result}}


def scalar(value: Any) -> Answer:
    return 200, {"status": "success", "data": {"resultType": "scalar", "result": [1795258514.1, str(value)]}}


async def prometheus(answer: Answer, counted: Answer, query: str = "ctr", window_s: float = 300) -> Any:
    """Read one query against a Prometheus that gives these two answers; return the sample and the queries asked."""
    asked: list[str] = []

    def serve(request: Asked) -> Answer:
        assert (request.method, request.path) == ("GET", "/prefix/api/v1/query")
        asked.append(request.query["query"])
        return counted if request.query["query"].startswith("count_over_time") else answer

    with http_stub(serve) as url:
        return await PrometheusSource(f"{url}/prefix/").read(query, VARIABLES, window_s), asked


async def test_one_series_is_a_value_with_its_points() -> None:
    sample, asked = await prometheus(vector(({}, 0.041)), vector(({}, 17)), 'avg(ctr{release="$release"})')
    assert sample == Sample(0.041, 17)
    assert asked == ['avg(ctr{release="chat-1"})', 'count_over_time((avg(ctr{release="chat-1"}))[300s:])']


async def test_a_query_can_bring_its_own_samples() -> None:
    both = vector(({"sluice": "value", "x": "1"}, 0.041), ({"sluice": "samples"}, 512))
    sample, asked = await prometheus(both, (500, None))
    assert sample == Sample(0.041, 512)
    assert len(asked) == 1


async def test_a_scalar_is_a_value() -> None:
    assert (await prometheus(scalar(2), vector(({}, 3))))[0] == Sample(2.0, 3)


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        (vector(), vector()),
        (vector(({}, "NaN")), vector(({}, 17))),
        (vector(({}, "+Inf")), vector(({}, 17))),
        (vector(({}, 0.5)), vector()),
        (vector(({"sluice": "value"}, 0.5)), vector()),
        (vector(({"sluice": "value"}, 0.5), ({"sluice": "samples"}, "NaN")), vector()),
        (scalar("NaN"), vector()),
    ],
)
async def test_no_data_is_nothing(answer: Answer, counted: Answer) -> None:
    assert (await prometheus(answer, counted))[0] is None


@pytest.mark.parametrize(
    ("answer", "code", "why"),
    [
        (vector(({"a": "1"}, 1), ({"a": "2"}, 2)), "METRIC-002", "2 series"),
        ((400, {"status": "error", "error": "parse error"}), "METRIC-002", "parse error"),
        ((200, {"status": "error", "error": "odd"}), "METRIC-002", "odd"),
        ((200, {"status": "success", "data": {"resultType": "matrix", "result": []}}), "METRIC-002", "a matrix"),
        ((200, b"<html>"), "METRIC-002", "no JSON"),
        ((200, [1]), "METRIC-002", "[1]"),
        ((503, None), "METRIC-001", "HTTP 503"),
    ],
)
async def test_an_answer_of_no_use_is_told(answer: Answer, code: str, why: str) -> None:
    with pytest.raises(SluiceError) as refused:
        await prometheus(answer, vector())
    assert refused.value.code == code
    assert why in refused.value.problem.why
    assert refused.value.retryable == (code == "METRIC-001")


async def test_a_server_that_is_not_there_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://ann:hunter2@127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SluiceError, match="METRIC-001") as refused:
            await PrometheusSource(url).read("up", {}, 60)
    assert "hunter2" not in str(refused.value)


async def test_a_server_that_never_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(SluiceError, match="METRIC-001"):
        await HttpSource().read(f"http://127.0.0.1:{silent.getsockname()[1]}/ctr", {}, 60)


@pytest.mark.parametrize(
    ("answer", "sample"),
    [
        ((200, {"value": 0.04, "samples": 512}), Sample(0.04, 512)),
        ((200, {"value": 0, "samples": 5}), Sample(0.0, 5)),
        ((200, {"value": None, "samples": 5}), None),
        ((200, {"value": "NaN", "samples": 5}), None),
        ((200, {"samples": 0}), None),
        ((200, {"value": 0.0, "samples": 0}), None),
        ((204, None), None),
    ],
)
async def test_http_gives_value_and_samples(answer: Answer, sample: Sample | None) -> None:
    asked: list[Asked] = []

    def serve(request: Asked) -> Answer:
        asked.append(request)
        return answer

    variables = {**VARIABLES, "release": "a&b=c"}
    with http_stub(serve) as url:
        found = await HttpSource().read(f"{url}/m/${{region}}?r=$release&w=$window", variables, 60)
    assert found == sample
    assert (asked[0].path, asked[0].query) == ("/m/eu", {"r": "a&b=c", "w": "60s"})


@pytest.mark.parametrize("answer", [(200, {"value": 1}), (200, [1]), (200, b"1.5.2"), (404, None)])
async def test_http_without_samples_is_of_no_use(answer: Answer) -> None:
    with http_stub(lambda _: answer) as url, pytest.raises(SluiceError, match="METRIC-002"):
        await HttpSource().read(f"{url}/ctr", {}, 60)


def test_variables_are_filled_in_and_unknown_ones_named() -> None:
    def plain(query: str) -> str:
        return substitute(query, VARIABLES, window_s=90, quote=str)

    assert plain('x{r="$release",code=~"5..$"}[$window]') == 'x{r="chat-1",code=~"5..$"}[90s]'
    with pytest.raises(SluiceError) as refused:
        plain("$relase")
    assert refused.value.code == "METRIC-003"
    assert 'nearest: "release"' in refused.value.problem.why


def test_a_region_has_the_sources_whose_needs_it_declares() -> None:
    plain = LocalRegion(platform="local", gateway_port=18080, serve_command=["x"])
    assert {name: type(source) for name, source in sources_of(plain).items()} == {"http": HttpSource}
    declared = plain.model_copy(update={"prometheus": "http://p"})
    assert {name: type(source) for name, source in sources_of(declared).items()} == {
        "http": HttpSource,
        "prometheus": PrometheusSource,
    }
    assert set(SOURCES) == set(sources_of(declared))
