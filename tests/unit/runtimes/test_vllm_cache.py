"""What vLLM says of its KV cache in its metrics, and what is no answer."""

from __future__ import annotations

import pytest

from reconciler.ports import KvCache, TellsCache
from reconciler.runtimes.triton.runtime import TritonRuntime
from reconciler.runtimes.vllm import VllmRuntime
from reconciler.runtimes.vllm_cache import cache_of


def info(tokens: str, most: str, engine: str = "0") -> str:
    """Return the sample as vLLM 0.32 writes it: every field of its CacheConfig is a label."""
    labels = {
        "block_size": "16", "cache_dtype": "auto", "enable_prefix_caching": "True", "gpu_memory_utilization": "0.92",
        "kv_cache_max_concurrency": most, "kv_cache_size_tokens": tokens, "num_gpu_blocks": "4926",
        "num_gpu_blocks_override": "None", "engine": engine,
    }  # fmt: skip
    return f"vllm:cache_config_info{{{','.join(f'{k}={chr(34)}{v}{chr(34)}' for k, v in labels.items())}}} 1.0\n"


def test_tokens_and_requests_are_those_of_the_log() -> None:
    text = "# TYPE vllm:cache_config_info gauge\n" + info("78816", "9.620361328125")
    assert cache_of(text) == KvCache(78816, 9.620361328125)


def test_of_several_engines_the_smallest_counts() -> None:
    assert cache_of(info("78816", "9.62") + info("64000", "7.8125", "1")) == KvCache(64000, 7.8125)


@pytest.mark.parametrize(
    "text",
    ["", info("None", "None"), info("0", "0.0"), "vllm:num_requests_running 0\n", info("7", "0.1")[:40]],
    ids=["nothing", "not known yet", "none", "an older server", "cut off"],
)
def test_what_is_no_answer(text: str) -> None:
    assert cache_of(text) is None


def test_which_runtimes_tell() -> None:
    assert isinstance(VllmRuntime(), TellsCache)
    assert not isinstance(TritonRuntime(), TellsCache)
