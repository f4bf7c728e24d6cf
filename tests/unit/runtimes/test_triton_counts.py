"""Triton's metrics become counts; the text is a recording of the real server, and missing data is never zero."""

from __future__ import annotations

from pathlib import Path

import pytest

from environments.errors import SluiceError
from reconciler.ports import SlotCounts
from reconciler.runtimes.triton.counts import counts_of
from reconciler.runtimes.triton.runtime import metrics_url
from reconciler.runtimes.triton.warmup import Warmup, failure_in

RECORDED = (Path(__file__).parents[2] / "support/recorded/triton-2.51.0.metrics").read_text()
FIRST = "nv_inference_first_response_histogram_ms"


def counted(more: str = "", *, server: str = "s1", text: str = RECORDED) -> SlotCounts:
    return counts_of(text + more, model="chat", server=server, where="x")


def line(name: str, value: float, **labels: str) -> str:
    told = "".join(f'{key}="{text}",' for key, text in {"model": "chat", "version": "1", **labels}.items())
    return f"{name}{{{told}}} {value}\n"


def test_reads_the_recorded_server() -> None:
    counts = counted()
    assert (counts.requests, counts.errors, counts.rejected, counts.waiting) == (6, 1, 0, 0)
    assert counts.ttft_s == counts.itl_s == counts.answer_s == {}
    assert counts.tokens is None
    assert counts.epoch == "s1"


def test_other_models_of_the_server_are_not_counted() -> None:
    assert counted(line("nv_inference_request_success", 50, model="aid")).requests == 6


def test_versions_are_summed() -> None:
    assert counted(line("nv_inference_request_success", 50, version="2")).requests == 56


def test_failures_by_their_reason() -> None:
    more = "".join(
        line("nv_inference_request_failure", count, version="2", reason=reason)
        for reason, count in {"BACKEND": 2, "OTHER": 4, "REJECTED": 8, "CANCELED": 16}.items()
    )
    counts = counted(more)
    assert (counts.errors, counts.rejected) == (1 + 2 + 4, 8)
    assert counts.requests == 6 + 2 + 4 + 8, "who gave up is neither served nor failed"


def test_the_first_response_is_told_in_seconds() -> None:
    more = "".join(line(f"{FIRST}_bucket", n, le=le) for le, n in {"100": 3, "2500": 5, "+Inf": 6}.items())
    assert counted(more).ttft_s == {"0.1": 3, "2.5": 5, "+Inf": 6}


def test_what_starts_again_has_another_epoch() -> None:
    loaded = line("nv_model_load_duration_secs", 1.25)
    epochs = {counted().epoch, counted(server="s2").epoch, counted(loaded).epoch}
    assert len(epochs) == 3


def test_the_cache_of_tensorrt_llm() -> None:
    name = "nv_trt_llm_kv_cache_block_metrics"
    more = "".join(line(name, value, kv_cache_block_type=kind) for kind, value in {"max": 8, "used": 2}.items())
    assert counted(more).kv_cache_usage == 0.25
    assert counted().kv_cache_usage == 0


@pytest.mark.parametrize(
    "text", ["", "nv_inference_request_success", line("nv_inference_request_success", 1, model="b")]
)
def test_missing_data_is_an_error_and_not_zero(text: str) -> None:
    with pytest.raises(SluiceError, match="RUN-005") as caught:
        counted(text=text)
    assert caught.value.retryable


def test_metrics_are_two_ports_above() -> None:
    assert metrics_url("http://127.0.0.1:20100") == "http://127.0.0.1:20102"
    assert metrics_url("http://10.0.0.7") == "http://10.0.0.7:8002"
    assert metrics_url("http://127.0.0.1:9/door/ns/pods/chat-a-1") == "http://127.0.0.1:9/door/ns/pods/chat-a-1+2"


INPUTS = [
    {"name": "T", "data_type": "TYPE_STRING", "dims": [-1]},
    {"name": "N", "data_type": "TYPE_FP32", "dims": ["2"]},
    {"name": "O", "data_type": "TYPE_INT32", "dims": [1], "optional": True},
]


def test_a_warm_up_asks_for_the_least_that_the_model_takes() -> None:
    request = Warmup("chat", {"max_batch_size": 4, "input": INPUTS}).request(3)
    assert request.path == "/v2/models/chat/infer"
    assert b'"shape": [1, 1], "datatype": "BYTES"' in request.content
    assert b'"shape": [1, 2], "datatype": "FP32", "data": [0.0, 0.0]' in request.content
    assert b'"O"' not in request.content


def test_warm_ups_differ_so_that_no_cache_answers() -> None:
    wanted = Warmup("chat", {"input": INPUTS})
    assert wanted.request(1).content != wanted.request(2).content


def test_numbers_that_json_cannot_say_go_as_bytes() -> None:
    request = Warmup("m", {"input": [{"name": "H", "data_type": "TYPE_FP16", "dims": [3]}]}).request(0)
    length = int(request.headers["Inference-Header-Content-Length"])
    assert (request.content[length:], b'"binary_data_size": 6' in request.content[:length]) == (bytes(6), True)


def test_a_model_that_streams_is_asked_for_a_stream() -> None:
    request = Warmup("m", {"model_transaction_policy": {"decoupled": True}, "input": INPUTS}).request(0)
    assert (request.path, request.streamed) == ("/v2/models/m/generate_stream", True)
    assert b'"N": [0.0, 0.0]' in request.content


def test_a_warm_up_of_the_releases_own() -> None:
    assert Warmup("m", {}, {"inputs": []}).request(0).path == "/v2/models/m/infer"
    given = Warmup("m", {}, {"text_input": "x"}).request(0)
    assert (given.path, given.content) == ("/v2/models/m/generate", b'{"text_input": "x"}')


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "without an answer"),
        ('data: {"error": "no"}\n', "no"),
        ("data: {\n", "not JSON"),
        ('data: {"a": 1}\n', None),
    ],
)
def test_how_a_stream_fails(text: str, says: str | None) -> None:
    found = failure_in(text)
    assert (found is None) if says is None else (found is not None and says in found)
