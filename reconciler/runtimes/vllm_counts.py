"""Turns vLLM's `/metrics` into the counts that the judge and the gates use. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from environments.errors import SluiceError
from reconciler.core.model.tokens import Tokens
from reconciler.ports import REJECTIONS, SlotCounts
from reconciler.runtimes.exposition import Sample, cumulative_buckets, parse_exposition, total

_TTFT = "vllm:time_to_first_token_seconds"
_ITL = "vllm:inter_token_latency_seconds"
_TPOT = "vllm:request_time_per_output_token_seconds"
_ANSWER = "vllm:e2e_request_latency_seconds"
_INPUT = "vllm:request_prompt_tokens"
_OUTPUT = "vllm:request_generation_tokens"
_REJECTED = frozenset({"4xx", *map(str, REJECTIONS)})
_GENERATING = ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses")


HEARTBEAT = "vllm:num_requests_running"
METRICS = "|".join(
    [
        *(f"{name}_(bucket|created)" for name in (_TTFT, _ITL, _TPOT, _ANSWER)),
        *(f"{name}_(count|sum)" for name in (_INPUT, _OUTPUT)),
        "http_requests_total",
        "process_start_time_seconds",
        "vllm:(request_success_total|num_requests_running|num_requests_waiting|kv_cache_usage_perc)",
    ]
)
"""All that `counts_from` reads, as a regular expression."""


def counts_of(text: str, *, where: str) -> SlotCounts:
    """Return the counters in the text of a server's `/metrics`.

    Raises:
        SluiceError: `RUN-005`, as `counts_from`.
    """
    try:
        samples = parse_exposition(text)
    except ValueError as error:
        raise _unreadable(where, str(error)) from error
    return counts_from(samples, where=where)


def counts_from(samples: Sequence[Sample], *, where: str) -> SlotCounts:
    """Return the counters in a server's samples, its engines summed.

    `requests` are those for tokens that were served (2xx), rejected or failed (5xx) as vLLM's HTTP server saw them.
    vLLM groups statuses, so `rejected` is its whole `4xx`, a 401 or 429 included; where statuses stand by themselves,
    it is `REJECTIONS`. A stream that broke after its first byte is a 2xx there. So a gateway's figures are better
    where there are any. `tokens` is None when the server tells none.

    Raises:
        SluiceError: `RUN-005` they are cut off or lack what is judged: missing data is never zero. Retryable.
    """
    ttft, itl = cumulative_buckets(samples, _TTFT), cumulative_buckets(samples, _ITL)
    if "+Inf" not in ttft or "+Inf" not in itl:
        raise _unreadable(where, f"no {_TTFT if '+Inf' not in ttft else _ITL} histogram is there")
    requests, errors, rejected = _outcomes(samples)
    return SlotCounts(
        requests=requests,
        errors=errors,
        rejected=rejected,
        ttft_s=ttft,
        itl_s=itl,
        tpot_s=cumulative_buckets(samples, _TPOT),
        answer_s=cumulative_buckets(samples, _ANSWER),
        tokens=_tokens(samples),
        running=_required(samples, "vllm:num_requests_running", where),
        waiting=_required(samples, "vllm:num_requests_waiting", where),
        kv_cache_usage=_required(samples, "vllm:kv_cache_usage_perc", where),
        epoch=_epoch(samples),
    )


def _outcomes(samples: Sequence[Sample]) -> tuple[int, int, int]:
    """Return (requests, errors, rejected); a server without HTTP counters has its finished requests alone."""
    http = [s for s in samples if s.name == "http_requests_total" and s.labels.get("handler") in _GENERATING]
    if not http:
        return int(total(samples, "vllm:request_success_total") or 0), 0, 0
    good = sum(s.value for s in http if s.labels.get("status", "").startswith("2"))
    bad = sum(s.value for s in http if s.labels.get("status", "").startswith("5"))
    rejected = sum(s.value for s in http if s.labels.get("status") in _REJECTED)
    return int(good + bad + rejected), int(bad), int(rejected)


def _tokens(samples: Sequence[Sample]) -> Tokens | None:
    """Return what finished answers read and wrote, out of histograms that an answer enters when it ends.

    The plain counters `vllm:generation_tokens_total` and `vllm:prompt_tokens_total` also hold answers that are still
    being written and those that nobody waited for, so no number of requests goes with their differences. A request
    for `n` choices is `n` answers.
    """
    answers, read, written = (total(samples, n) for n in (f"{_OUTPUT}_count", f"{_INPUT}_sum", f"{_OUTPUT}_sum"))
    if answers is None or read is None or written is None:
        return None
    return Tokens(int(answers), int(read), int(written))


def _required(samples: Sequence[Sample], name: str, where: str) -> float:
    value = total(samples, name)
    if value is None:
        raise _unreadable(where, f"no {name} is there")
    return value


def _epoch(samples: Sequence[Sample]) -> str:
    """Return the server's start time as text; where it is not told, the time when its counters were made."""
    for name in ("process_start_time_seconds", f"{_TTFT}_created"):
        if (started := total(samples, name)) is not None:
            return repr(started)
    return ""


def _unreadable(where: str, why: str) -> SluiceError:
    return SluiceError(
        "RUN-005",
        where=where,
        what="the server's metrics cannot be used",
        why=why,
        do="check that the address is a vLLM server's, and that it was not started with --disable-log-stats",
        retryable=True,
    )
