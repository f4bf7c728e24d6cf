"""Turns vLLM's `/metrics` into the counts that the judge and the gates use. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from environments.errors import SluiceError
from reconciler.ports import SlotCounts
from reconciler.runtimes.exposition import Sample, cumulative_buckets, parse_exposition, total

_TTFT = "vllm:time_to_first_token_seconds"
_ITL = "vllm:inter_token_latency_seconds"
_GENERATING = ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses")


def counts_of(text: str, *, where: str) -> SlotCounts:
    """Return the counters in `text`, engines of one server summed.

    `requests` and `errors` are of answers with tokens: 2xx and 5xx as vLLM's HTTP server saw them. A stream that
    broke after its first byte is a 2xx there, so a gateway's figures are better where there are any.

    Raises:
        SluiceError: `RUN-005` the text is cut off or lacks what is judged: missing data is never zero. Retryable.
    """
    try:
        samples = parse_exposition(text)
    except ValueError as error:
        raise _unreadable(where, str(error)) from error
    ttft, itl = cumulative_buckets(samples, _TTFT), cumulative_buckets(samples, _ITL)
    if "+Inf" not in ttft or "+Inf" not in itl:
        raise _unreadable(where, f"no {_TTFT if '+Inf' not in ttft else _ITL} histogram is there")
    requests, errors = _outcomes(samples)
    return SlotCounts(
        requests=requests,
        errors=errors,
        ttft_s=ttft,
        itl_s=itl,
        running=_required(samples, "vllm:num_requests_running", where),
        waiting=_required(samples, "vllm:num_requests_waiting", where),
        kv_cache_usage=_required(samples, "vllm:kv_cache_usage_perc", where),
        epoch=_epoch(samples),
    )


def _outcomes(samples: Sequence[Sample]) -> tuple[int, int]:
    """Return (requests, errors); a server without HTTP counters has its finished requests and no errors."""
    http = [s for s in samples if s.name == "http_requests_total" and s.labels.get("handler") in _GENERATING]
    if not http:
        return int(total(samples, "vllm:request_success_total") or 0), 0
    good = sum(s.value for s in http if s.labels.get("status", "").startswith("2"))
    bad = sum(s.value for s in http if s.labels.get("status", "").startswith("5"))
    return int(good + bad), int(bad)


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
