"""vLLM's metrics become counts; the text is a recording of the real server, and missing data is never zero."""

from __future__ import annotations

from pathlib import Path

import pytest

from environments.errors import SluiceError
from reconciler.core.model.tokens import Tokens
from reconciler.runtimes.vllm_counts import counts_of

RECORDED = (Path(__file__).parents[2] / "support/recorded/vllm-0.32.0.metrics").read_text()


def without(start: str) -> str:
    return "\n".join(line for line in RECORDED.splitlines() if not line.startswith(start))


def test_reads_the_recorded_server() -> None:
    counts = counts_of(RECORDED, where="x")
    assert (counts.requests, counts.errors, counts.rejected) == (7, 0, 3)
    assert counts.tokens == Tokens(answers=4, input=41, output=26)
    assert counts.ttft_s["+Inf"] == 4
    assert counts.itl_s["+Inf"] == 22
    assert counts.tpot_s["+Inf"] == counts.answer_s["+Inf"] == counts.tokens.answers
    assert list(counts.ttft_s)[:3] == ["0.001", "0.005", "0.01"]
    assert list(counts.itl_s)[-1] == "+Inf"
    assert (counts.running, counts.waiting, counts.kv_cache_usage) == (0, 0, 0)
    assert counts.epoch == "1795257140.16"


def test_buckets_never_fall() -> None:
    counts = counts_of(RECORDED, where="x")
    for histogram in (counts.ttft_s, counts.itl_s, counts.tpot_s, counts.answer_s):
        values = list(histogram.values())
        assert values == sorted(values)


@pytest.mark.parametrize("name", ["vllm:request_time_per_output_token_seconds", "vllm:e2e_request_latency_seconds"])
def test_what_only_newer_servers_tell_may_be_missing(name: str) -> None:
    counts = counts_of(without(name), where="x")
    assert counts.tpot_s == {} or counts.answer_s == {}
    assert counts.itl_s["+Inf"] == 22


def answered(status: str, count: int) -> str:
    return f'http_requests_total{{handler="/v1/completions",method="POST",status="{status}"}} {count}.0\n'


def test_server_errors_are_errors_and_not_rejected() -> None:
    counts = counts_of(RECORDED + answered("5xx", 2), where="x")
    assert (counts.requests, counts.errors, counts.rejected) == (9, 2, 3)


def test_where_statuses_are_not_grouped_only_rejections_are_rejected() -> None:
    alone = without("http_requests_total") + "\n"
    each = {"200": 1, "400": 2, "401": 4, "404": 8, "413": 16, "422": 32, "429": 64, "503": 128}
    counts = counts_of(alone + "".join(answered(status, n) for status, n in each.items()), where="x")
    assert counts.rejected == 2 + 8 + 16 + 32
    assert (counts.requests, counts.errors) == (1 + 128 + counts.rejected, 128)


def test_without_http_counters_finished_requests_count() -> None:
    counts = counts_of(without("http_requests_total"), where="x")
    assert (counts.requests, counts.rejected) == (4, 0)


@pytest.mark.parametrize("name", ["vllm:request_prompt_tokens_sum", "vllm:request_generation_tokens"])
def test_tokens_that_are_not_told_are_no_tokens_and_not_zero(name: str) -> None:
    assert counts_of(without(name), where="x").tokens is None


def test_answers_in_flight_are_in_no_token_count() -> None:
    """While an answer is written, vLLM moves the plain counter; the histograms wait for its end."""
    counter = 'vllm:generation_tokens_total{engine="0",model_name="chat"} '
    written = RECORDED.replace(f"{counter}26.0", f"{counter}999.0")
    assert written != RECORDED
    assert counts_of(written, where="x").tokens == Tokens(4, 41, 26)


@pytest.mark.parametrize(
    "start",
    [
        "vllm:time_to_first_token_seconds",
        "vllm:inter_token_latency_seconds",
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
    ],
)
def test_what_is_missing_is_an_error_and_not_zero(start: str) -> None:
    with pytest.raises(SluiceError) as caught:
        counts_of(without(start), where="http://slot")
    assert caught.value.code == "RUN-005"
    assert caught.value.retryable
    assert start in caught.value.problem.why


def test_a_text_cut_off_in_a_line_is_refused() -> None:
    cut = RECORDED[: RECORDED.index('engine="0"') + 4]
    with pytest.raises(SluiceError, match="RUN-005"):
        counts_of(cut, where="x")


def test_the_epoch_changes_with_the_start() -> None:
    restarted = RECORDED.replace("process_start_time_seconds 1.79", "process_start_time_seconds 1.78")
    assert counts_of(restarted, where="x").epoch != counts_of(RECORDED, where="x").epoch
    assert counts_of(without("process_start_time"), where="x").epoch.startswith("1795257190.")
