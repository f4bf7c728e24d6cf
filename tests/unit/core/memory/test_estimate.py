"""Weights, overhead and cache of one GPU, what fits and what would: bounds that hold what they should."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.core.memory.budget import overhead_bytes, shown_bytes, steps_of, weight_bytes
from reconciler.core.memory.estimate import Fit, Gpu, Memory, Unknown, estimate, ways_out
from reconciler.core.memory.interval import GIB, Interval
from reconciler.core.memory.layers import FULL, SLIDING, STATE, Split, layer_kinds
from reconciler.core.memory.pages import Use, group_size, kv_capacity, longest_request
from reconciler.core.model.model_facts import ModelFacts, facts_of

LLAMA = {
    "num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
}  # fmt: skip
BF16_8B = {"BF16": 16_060_522_496}
L4, H100, ALONE = Gpu("L4", 24), Gpu("H100", 80), Split()


def facts(bytes_: dict[str, int] | None = None, **config: Any) -> ModelFacts:
    return facts_of({**LLAMA, **config}, BF16_8B if bytes_ is None else bytes_)


def found(engine: dict[str, Any], gpu: Gpu = L4, **config: Any) -> Memory:
    made = estimate(facts(**config), engine, gpu)
    assert isinstance(made, Memory)
    return made


def layers(engine: dict[str, Any], split: Split = ALONE, **config: Any) -> list[tuple[str, int, int]]:
    made = layer_kinds(facts(**config).config, engine, split)
    assert not isinstance(made, Unknown)
    return [(each.kind, each.layers, each.token_bytes) for each in made]


@pytest.mark.parametrize(
    ("engine", "config", "token_bytes"),
    [
        ({}, {}, 2 * 8 * 128 * 2),
        ({"kv_cache_dtype": "fp8"}, {}, 2 * 8 * 128),
        ({"dtype": "float32"}, {}, 2 * 8 * 128 * 4),
        ({"tensor_parallel_size": 4}, {}, 2 * 2 * 128 * 2),
        ({"tensor_parallel_size": 16}, {}, 2 * 1 * 128 * 2),
        ({}, {"quantization_config": {"quant_method": "modelopt", "kv_cache_scheme": {"num_bits": 8}}}, 2 * 8 * 128),
        ({}, {"kv_lora_rank": 512, "qk_rope_head_dim": 64}, 576 * 2),
        ({"tensor_parallel_size": 8}, {"kv_lora_rank": 512, "qk_rope_head_dim": 64}, 576 * 2),
    ],
    ids=[
        "grouped",
        "fp8",
        "32 bits",
        "split",
        "split past its heads",
        "scales in the checkpoint",
        "latent",
        "latent, split",
    ],
)
def test_what_a_layer_keeps_of_a_token(engine: dict[str, Any], config: dict[str, Any], token_bytes: int) -> None:
    split = Split(engine.get("tensor_parallel_size", 1))
    assert layers(engine, split, **config) == [(FULL, 32, token_bytes)]


@pytest.mark.parametrize(
    ("config", "kinds"),
    [
        ({"sliding_window": 4096}, {SLIDING: 32}),
        ({"sliding_window": 4096, "use_sliding_window": False}, {FULL: 32}),
        ({"sliding_window": 512, "sliding_window_pattern": 6}, {FULL: 5, SLIDING: 27}),
        ({"sliding_window": 512, "layer_types": ["sliding_attention", "full_attention"] * 16}, {FULL: 16, SLIDING: 16}),
    ],
)
def test_which_layers_slide(config: dict[str, Any], kinds: dict[str, int]) -> None:
    assert {kind: count for kind, count, _ in layers({}, **config)} == kinds


@pytest.mark.parametrize(
    ("engine", "config", "why"),
    [
        ({}, {"index_topk": 2048, "kv_lora_rank": 512}, "sparse attention"),
        ({}, {"layer_types": ["mamba"] * 32}, "layers of type mamba"),
        ({}, {"attention_chunk_size": 8192}, "chunked"),
        ({"kv_cache_dtype": "nvfp4"}, {}, "kv_cache_dtype nvfp4"),
        ({}, {"full_attention_interval": 4}, "linear attention"),
        ({}, {"num_hidden_layers": None}, "num_hidden_layers"),
        ({}, {"num_key_value_heads": 0, "num_attention_heads": 0}, "heads"),
        ({"max_model_len": "auto"}, {}, "max_model_len"),
    ],
)
def test_what_is_not_known_is_said_and_never_guessed(engine: dict[str, Any], config: dict[str, Any], why: str) -> None:
    made = estimate(facts(**config), engine, L4)
    assert isinstance(made, Unknown)
    assert why in made.why


def test_weights_without_a_size_are_unknown_and_not_free() -> None:
    assert isinstance(estimate(facts({}), {}, L4), Unknown)


@pytest.mark.parametrize(
    ("bytes_", "engine", "config", "low", "high"),
    [
        ({"F32": 400}, {}, {}, 200, 200),
        ({"F32": 400}, {"dtype": "float32"}, {}, 400, 400),
        ({"BF16": 400}, {"dtype": "float32"}, {}, 800, 800),
        ({"F8_E4M3": 300, "F32": 8}, {}, {"quantization_config": {"quant_method": "fp8"}}, 308, 308),
        ({"BF16": 400}, {"quantization": "bitsandbytes"}, {}, 50, 400),
    ],
)
def test_weights_take_the_type_that_the_engine_computes_with(
    bytes_: dict[str, int], engine: dict[str, Any], config: dict[str, Any], low: float, high: float
) -> None:
    assert weight_bytes(facts(bytes_, **config), engine, Split()) == Interval(low, high)


def test_weights_on_several_gpus_are_a_share_and_a_little_more() -> None:
    found = weight_bytes(facts({"BF16": 1000}), {}, Split(4))
    assert found.low == 250
    assert found.high == pytest.approx(262.5)
    last = weight_bytes(facts({"BF16": 10**10}), {}, Split(1, 2))
    assert last.high > 1.05 * last.low, "the first and the last stage have an embedding"


def test_what_cuda_shows_of_a_gpu_is_less_than_its_name_says() -> None:
    for gpu, vram, shown in (("L4", 24, 22.2), ("L40S", 48, 44.5), ("A100", 80, 79.2), ("H100", 80, 79.2)):
        assert shown_bytes(gpu, vram).low <= shown * GIB <= shown_bytes(gpu, vram).high < vram * GIB
    unknown = shown_bytes("X1", 100)
    assert unknown.low / GIB == pytest.approx(91.5)
    assert unknown.high / GIB == pytest.approx(99.5)
    assert shown_bytes("L4", 48) == shown_bytes("other", 48), "a size that is not its own is believed"


@pytest.mark.parametrize(
    ("gpu", "engine", "tokens", "sequences"),
    [
        (L4, {}, 2048, 256),
        (H100, {}, 8192, 1024),
        (Gpu("A100", 80), {}, 2048, 256),
        (Gpu("B200", 180), {}, 16384, 1024),
        (L4, {"max_num_batched_tokens": 512, "max_num_seqs": 8}, 512, 8),
        (L4, {"enable_chunked_prefill": False, "max_model_len": 9000}, 9000, 256),
    ],
)
def test_the_batch_is_declared_or_vllms_for_the_gpu(
    gpu: Gpu, engine: dict[str, Any], tokens: int, sequences: int
) -> None:
    steps = steps_of(engine, gpu.vram_gib, gpu.name)
    assert (steps.batched_tokens, steps.sequences) == (tokens, sequences)


def test_more_tokens_in_a_step_and_graphs_take_more() -> None:
    small = overhead_bytes(facts(), {"enforce_eager": True}, Split(), steps_of({}, 24, "L4"))
    large = overhead_bytes(
        facts(), {"enforce_eager": True}, Split(), steps_of({"max_num_batched_tokens": 16384}, 24, "L4")
    )
    graphs = overhead_bytes(facts(), {}, Split(), steps_of({}, 24, "L4"))
    assert small.high < large.high
    assert small.low < graphs.low
    assert small.high < graphs.high


def test_an_8b_llama_on_an_l4_holds_a_few_requests_of_8192() -> None:
    made = found({"max_model_len": 8192})
    assert made.fit is Fit.FITS
    assert 1 <= made.concurrency.low < made.concurrency.high < 6
    assert made.longest.low == 8192


def test_the_same_with_its_own_length_does_not_fit_and_every_way_out_does() -> None:
    made = found({})
    assert made.max_model_len == 131072
    assert made.fit is Fit.NOT
    ways = ways_out(facts(), {}, L4, made)
    assert ways[0].startswith("engine.max_model_len up to ")
    longest = int(ways[0].rpartition(" ")[2].replace(",", ""))
    assert found({"max_model_len": longest}).fit is Fit.FITS
    assert found({"max_model_len": longest + 32}).fit is not Fit.FITS
    assert any("GPUs a replica" in way for way in ways_out(facts(), {"max_model_len": 32768}, L4, made))


def test_weights_that_are_larger_than_the_gpu_leave_nothing_and_only_other_ways_out() -> None:
    big = facts({"BF16": 140 * 10**9})
    made = estimate(big, {"max_model_len": 4096}, L4)
    assert isinstance(made, Memory)
    assert made.kv.high < 0
    assert (made.fit, made.tokens.high, made.longest.high) == (Fit.NOT, 0, 0)
    assert not any("max_model_len" in way for way in ways_out(big, {"max_model_len": 4096}, L4, made))


def test_a_declared_cache_is_exact_and_adapters_take_room() -> None:
    made = found({"max_model_len": 4096, "kv_cache_memory_bytes": 131072 * 4096 * 3})
    assert made.concurrency == Interval(3.0, 3.0)
    plain, with_adapters = (
        found({"max_model_len": 4096}),
        estimate(facts(), {"max_model_len": 4096, "max_loras": 8}, L4, adapters=2),
    )
    assert isinstance(with_adapters, Memory)
    assert with_adapters.weights.low > plain.weights.low


def test_sliding_layers_keep_a_window_and_so_hold_more_requests() -> None:
    pattern: dict[str, Any] = {"sliding_window": 1024, "layer_types": ["sliding_attention", "full_attention"] * 16}
    sliding, plain = found({"max_model_len": 8192}, **pattern), found({"max_model_len": 8192})
    assert sliding.concurrency.low > plain.concurrency.low
    assert sliding.concurrency.high > plain.concurrency.high
    assert "sliding layers" in " ".join(sliding.causes)


def test_groups_of_layers_are_the_smaller_kind_unless_both_are_near() -> None:
    assert (group_size([32]), group_size([16, 48]), group_size([12, 13]), group_size([5, 27])) == (32, 16, 13, 5)


def test_a_state_takes_one_block_more_where_prefixes_are_kept() -> None:
    made = layer_kinds(
        facts(full_attention_interval=4, linear_num_key_heads=16, linear_num_value_heads=32, linear_key_head_dim=128,
              linear_value_head_dim=128, linear_conv_kernel_dim=4).config, {}, Split(),
    )  # fmt: skip
    assert not isinstance(made, Unknown)
    assert {each.kind: each.layers for each in made} == {FULL: 8, STATE: 24}
    kept, not_kept = (kv_capacity(8 * GIB, made, Use(8192, 2048, caching)) for caching in (True, False))
    assert kept.blocks == not_kept.blocks
    assert kept.concurrency < not_kept.concurrency
    assert longest_request(8 * GIB, made, Use(8192, 2048)) == 8192
