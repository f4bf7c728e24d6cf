"""The double's command line: vLLM's own argument names; those that change nothing here are accepted and ignored."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What the double takes from its command line. `port` 0 lets the system choose; it is printed on stdout."""

    model: Path
    host: str
    port: int
    served: str
    max_model_len: int
    max_num_seqs: int
    shutdown_timeout_s: float
    buckets: Mapping[str, Sequence[float]]


def parse_options(arguments: Sequence[str]) -> Options:
    """Read the command line; a model folder that is not there ends the process with code 2."""
    parser = argparse.ArgumentParser(prog="vllm_double", allow_abbrev=False)
    parser.add_argument("model", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--served-model-name", default=None)
    parser.add_argument("--max-model-len", type=int, default=2048)
    parser.add_argument("--max-num-seqs", type=int, default=256)
    parser.add_argument("--shutdown-timeout", type=float, default=20.0)
    parser.add_argument("--custom-histogram-buckets", type=json.loads, default={})
    known, _ = parser.parse_known_args(arguments)
    if not known.model.is_dir():
        parser.error(f"{known.model} is not a folder")
    return Options(
        model=known.model,
        host=known.host,
        port=known.port,
        served=known.served_model_name or str(known.model),
        max_model_len=known.max_model_len,
        max_num_seqs=known.max_num_seqs,
        shutdown_timeout_s=known.shutdown_timeout,
        buckets=known.custom_histogram_buckets,
    )
