"""Makes the requests with which a model on Triton is warmed up, out of its configuration or the release's own. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_BINARY_BYTES = {"TYPE_FP16": 2, "TYPE_BF16": 2}
"""Types that KServe's JSON cannot say, with the bytes of one number."""
_HEADER_LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Request:
    """One request to a model; `streamed` answers come as events."""

    path: str
    content: bytes
    streamed: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Warmup:
    """What `model`'s configuration, as the server tells it, and the release's `warmup_request` say of requests."""

    model: str
    config: Mapping[str, Any]
    given: Mapping[str, Any] | None = None

    @property
    def streamed(self) -> bool:
        """Return whether the model sends as many responses as it likes, which plain inference refuses."""
        return bool(self.config.get("model_transaction_policy", {}).get("decoupled"))

    def request(self, number: int) -> Request:
        """Return one request; those with texts differ by `number`, so that no cache answers for the model."""
        if self.given is not None:
            return self._as_given(self.given)
        if self.streamed:
            return self._generating(dict(self._texts_and_zeros(number)))
        return self._inferring(number)

    def _as_given(self, given: Mapping[str, Any]) -> Request:
        if isinstance(given.get("inputs"), list):
            return Request(f"/v2/models/{self.model}/infer", json.dumps(given).encode())
        return self._generating(given)

    def _generating(self, body: Mapping[str, Any]) -> Request:
        verb = "generate_stream" if self.streamed else "generate"
        return Request(f"/v2/models/{self.model}/{verb}", json.dumps(body).encode(), self.streamed)

    def _inferring(self, number: int) -> Request:
        inputs, raw = [], b""
        for tensor in self._inputs():
            told: dict[str, Any] = {"name": tensor["name"], "shape": self._shape(tensor), "datatype": _datatype(tensor)}
            width = _BINARY_BYTES.get(tensor["data_type"])
            if width:
                zeros = bytes(width * math.prod(told["shape"]))
                told["parameters"] = {"binary_data_size": len(zeros)}
                raw += zeros
            else:
                told["data"] = [_value(tensor, number)] * math.prod(told["shape"])
            inputs.append(told)
        header = json.dumps({"inputs": inputs}).encode()
        headers = {_HEADER_LENGTH: str(len(header))} if raw else {}
        return Request(f"/v2/models/{self.model}/infer", header + raw, headers=headers)

    def _texts_and_zeros(self, number: int) -> Iterator[tuple[str, Any]]:
        for tensor in self._inputs():
            count = math.prod(self._shape(tensor))
            yield tensor["name"], _value(tensor, number) if count == 1 else [_value(tensor, number)] * count

    def _inputs(self) -> list[Mapping[str, Any]]:
        return [tensor for tensor in self.config.get("input", []) if not tensor.get("optional")]

    def _shape(self, tensor: Mapping[str, Any]) -> list[int]:
        """Return the smallest shape: one of each size that the model leaves open, in a batch of one."""
        sizes = [size if size > 0 else 1 for size in map(int, tensor.get("dims", ()))]
        return [1, *sizes] if int(self.config.get("max_batch_size", 0)) > 0 else sizes


def _datatype(tensor: Mapping[str, Any]) -> str:
    name = str(tensor["data_type"]).removeprefix("TYPE_")
    return "BYTES" if name == "STRING" else name


def _value(tensor: Mapping[str, Any], number: int) -> str | bool | int | float:
    match tensor["data_type"]:
        case "TYPE_STRING":
            return f"Request {number} that warms up the server: where is my order, and when will it arrive?"
        case "TYPE_BOOL":
            return False
        case "TYPE_FP32" | "TYPE_FP64":
            return 0.0
        case _:
            return 0


def failure_in(text: str) -> str | None:
    """Return the error in a stream of events, or that it held no answer; None for a whole one."""
    events = [line.removeprefix("data:").strip() for line in text.splitlines() if line.startswith("data:")]
    if not events:
        return "the stream ended without an answer"
    for event in events:
        try:
            told = json.loads(event)
        except ValueError:
            return f"an event is not JSON: {event[:100]}"
        if isinstance(told, dict) and "error" in told:
            return str(told["error"])
    return None
