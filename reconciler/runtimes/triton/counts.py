"""Turns Triton's `/metrics` into the counts that the judge uses, and its names of requests' ends into ours. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from environments.errors import SluiceError
from reconciler.ports import SlotCounts
from reconciler.runtimes.exposition import Sample, cumulative_buckets, parse_exposition, total

_SUCCESS = "nv_inference_request_success"
_FAILURE = "nv_inference_request_failure"
_PENDING = "nv_inference_pending_request_count"
_FIRST_RESPONSE_MS = "nv_inference_first_response_histogram_ms"
_LOADED_S = "nv_model_load_duration_secs"
_KV_BLOCKS = "nv_trt_llm_kv_cache_block_metrics"
HEARTBEAT = _SUCCESS
METRICS = "|".join([_SUCCESS, _FAILURE, _PENDING, f"{_FIRST_RESPONSE_MS}_bucket", _LOADED_S, _KV_BLOCKS])
"""All that `counts_from` reads, as a regular expression."""
_REJECTED = "REJECTED"
_CANCELED = "CANCELED"


def counts_of(text: str, *, model: str, server: str, where: str) -> SlotCounts:
    """Return the counters of one model in the text of a server's `/metrics`; `server` is its id, another at each start.

    Raises:
        SluiceError: `RUN-005`, as `counts_from`.
    """
    try:
        samples = parse_exposition(text)
    except ValueError as error:
        raise _unreadable(where, str(error)) from error
    return counts_from(samples, model=model, server=server, where=where)


def counts_from(samples: Sequence[Sample], *, model: str, server: str, where: str) -> SlotCounts:
    """Return the counters of one model in a server's samples, its versions summed.

    `errors` are failures that Triton saw: an answer that holds an error (`TritonError`) is a success to it, so where
    a gateway counts, its figures are the ones to judge. Requests that clients gave up are none; those that a full
    queue turned away are `rejected`. `ttft_s` is the time to the first response, which only decoupled models on
    servers from 24.12 on tell; there is no time between tokens, and no histogram of whole answers.

    Raises:
        SluiceError: `RUN-005` they are cut off or lack the model: missing data is never zero. Retryable.
    """
    ours = [sample for sample in samples if sample.labels.get("model") == model]
    good = total(ours, _SUCCESS)
    if good is None:
        raise _unreadable(where, f'there is no {_SUCCESS} of the model "{model}"')
    failed = [sample for sample in ours if sample.name == _FAILURE]
    rejected = _sum(s for s in failed if s.labels.get("reason") == _REJECTED)
    errors = _sum(s for s in failed if s.labels.get("reason") not in (_REJECTED, _CANCELED))
    return SlotCounts(
        requests=int(good + rejected + errors),
        errors=int(errors),
        rejected=int(rejected),
        ttft_s=_in_seconds(cumulative_buckets(ours, _FIRST_RESPONSE_MS)),
        waiting=total(ours, _PENDING) or 0.0,
        kv_cache_usage=_kv_cache_usage(samples),
        epoch=_epoch(ours, server),
    )


def _sum(samples: Iterable[Sample]) -> float:
    return sum(sample.value for sample in samples)


def _in_seconds(buckets_ms: dict[str, float]) -> dict[str, float]:
    """Return a histogram with its bounds in seconds, written as other servers' are."""
    return {le if le == "+Inf" else repr(float(le) / 1000): count for le, count in buckets_ms.items()}


def _kv_cache_usage(samples: Sequence[Sample]) -> float:
    """Return the share of TensorRT-LLM's cache that is in use; 0 where another backend serves."""
    blocks = {s.labels.get("kv_cache_block_type"): s.value for s in samples if s.name == _KV_BLOCKS}
    return blocks.get("used", 0.0) / blocks["max"] if blocks.get("max") else 0.0


def _epoch(ours: Sequence[Sample], server: str) -> str:
    """Return what changes when the counters start again: the server's id, and how long loading the model took.

    A server that was not told an id is always called `triton`, and one before 25.01 does not tell the other; there a
    histogram that falls is what shows a restart.
    """
    loaded = sorted(repr(sample.value) for sample in ours if sample.name == _LOADED_S)
    return " ".join([server, *loaded])


def _unreadable(where: str, why: str) -> SluiceError:
    return SluiceError(
        "RUN-005",
        where=where,
        what="the server's metrics cannot be used",
        why=why,
        do="check that a Triton server listens there, its metrics two ports above, with its model loaded",
        retryable=True,
    )
