"""Which engine arguments lead out of a release: to code, files or hosts that its digest does not cover. Pure.

The policy REL-005 says so of a file, and the runtime refuses them whatever a policy's level is. Denied by default: an
argument whose name speaks of a way out passes only when it stands in `REVIEWED`, and values may name no path, address,
module or class unless their argument is one of those that need to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

_CODE = "it makes the server run code that no digest covers"
_ELSEWHERE = "it makes the server read what no digest covers"
_HOSTS = "it makes the server talk to other hosts"

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "trust_remote_code",
                "middleware",
                "logits_processors",
                "tool_parser_plugin",
                "reasoning_parser_plugin",
                "io_processor_plugin",
                "worker_cls",
                "worker_extension_cls",
                "scheduler_cls",
                "model_class_overrides",
                "ec_manager_config",
                "additional_config",
            ),
            _CODE,
        ),
        **dict.fromkeys(
            ("trust_request_chat_template", "trust_request_mm_kwargs"),
            "clients could bring templates and settings of their own, which no release has",
        ),
        **dict.fromkeys(
            (
                "tokenizer",
                "tokenizer_revision",
                "code_revision",
                "spec_model",
                "model_loader_extra_config",
                "allowed_local_media_path",
                "download_dir",
                "default_mm_loras",
                "hf_config_path",
                "ignore_patterns",
                "mm_encoder_fp8_scale_path",
                "mm_encoder_fp8_scale_save_path",
                "log_config_file",
                "logging_config",
                "profiler_config",
            ),
            _ELSEWHERE,
        ),
        "chat_template": "a template is part of the model: put chat_template.jinja into its folder, which is hashed",
        **dict.fromkeys(
            (
                "otlp_traces_endpoint",
                "kv_transfer_config",
                "kv_events_config",
                "ec_transfer_config",
                "weight_transfer_config",
                "tool_server",
                "master_addr",
                "master_port",
                "nnodes",
                "node_rank",
                "data_parallel_address",
                "data_parallel_rpc_port",
                "data_parallel_supervisor_port",
                "grpc_port",
            ),
            _HOSTS,
        ),
    }
)
"""vLLM's arguments that no release may set → why."""

CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "load_format": ("auto", "hf", "safetensors", "fastsafetensors"),
        "generation_config": ("auto", "vllm"),
        "distributed_executor_backend": ("mp", "uni", "ray", "external_launcher"),
        "config_format": ("auto", "hf", "mistral"),
    }
)
"""Arguments that take names and paths alike → the names that may stand there."""

KEYS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "compilation_config": frozenset(
            {
                "mode",
                "backend",
                "custom_ops",
                "splitting_ops",
                "compile_sizes",
                "compile_ranges_endpoints",
                "compile_mm_encoder",
                "cudagraph_mode",
                "cudagraph_capture_sizes",
                "cudagraph_num_of_warmups",
                "cudagraph_copy_inputs",
                "cudagraph_specialize_lora",
                "max_cudagraph_capture_size",
                "use_inductor_graph_partition",
                "pass_config",
                "fast_moe_cold_start",
            }
        ),
        "speculative_config": frozenset(
            {
                "method",
                "num_speculative_tokens",
                "num_speculative_tokens_per_batch_size",
                "prompt_lookup_min",
                "prompt_lookup_max",
                "suffix_decoding_max_tree_depth",
                "suffix_decoding_max_cached_requests",
                "suffix_decoding_max_spec_factor",
                "suffix_decoding_min_token_prob",
                "draft_tensor_parallel_size",
                "draft_sample_method",
                "rejection_sample_method",
                "enforce_eager",
                "max_model_len",
                "parallel_drafting",
                "disable_padded_drafter_batch",
                "enable_adaptive_verification",
            }
        ),
    }
)
"""Blocks with many ways out → the keys that have none."""

TEXTS = frozenset(
    {
        "allowed_headers",
        "allowed_media_domains",
        "allowed_methods",
        "allowed_origins",
        "default_chat_template_kwargs",
        "disable_access_log_for_endpoints",
        "reasoning_config",
    }
)
"""Arguments whose values are texts for clients or limits on what they may ask: nothing is opened or called by them."""

REVIEWED = frozenset(
    {
        *TEXTS,
        *CHOICES,
        *KEYS,
        "chat_template_content_format",
        "cohere_format",
        "enable_return_routed_experts",
        "enable_tokenizer_info_endpoint",
        "enable_prompt_tokens_details",
        "exclude_tools_when_tool_choice_none",
        "lora_target_modules",
        "max_lora_cls_labels",
        "skip_tokenizer_init",
        "tokenizer_mode",
    }
)
"""Arguments whose name speaks of a way out and that have none, or none but what is refused by value."""

OUTWARD = re.compile(
    r"(^|_)(path|files?|dir|folder|ur[li]s?|endpoints?|addr|address|host|ip|port|cls|class|classes|plugins?|modules?|"
    r"template|tokenizer|processors?|middleware|trust|code|remote|origins|domains|server|hf_token|auto_map|extension|"
    r"executor_backend|loader|import|hooks?|command)(_|$)"
)
_WORD = re.compile(r"[A-Za-z0-9_+,. *-]*")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_NAMES = frozenset(
    {
        "cpu_offload_params",
        "kv_cache_dtype_skip_layers",
        "lora_target_modules",
        "offload_params",
        "sleep_preserve_parameter_names",
    }
)
"""Arguments that take names of layers and parameters, which have dots."""
_FORBIDDEN_WORDS = frozenset({"custom_class"})


def escapes(runtime: str, engine: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield argument and reason for each engine argument that leads out of the release, sorted by argument."""
    if runtime != "vllm":
        return
    for name, value in sorted(engine.items()):
        why = _why(name, value)
        if why:
            yield name, why


def _why(name: str, value: Any) -> str | None:
    if any(text.startswith("-") for text in _texts_of_argument(value)):
        return "a value that begins with - would be read as an option of its own"
    if name in REFUSED:
        return REFUSED[name]
    if name in CHOICES:
        return (
            None if value in CHOICES[name] else f"it takes {', '.join(CHOICES[name])} here: anything else is a way out"
        )
    if OUTWARD.search(name) and name not in REVIEWED:
        return "its name speaks of a path, an address or code, and nobody has looked at what it does"
    if name in TEXTS:
        return None
    return _why_block(name, value)


def _texts_of_argument(value: Any) -> Iterator[str]:
    """Yield the texts that become arguments of their own: a text, or the items of a list, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts_of_argument(item)


def _why_block(name: str, value: Any) -> str | None:
    known = KEYS.get(name)
    if known is None:
        return next(_ways_out(value, dotted=name in _NAMES), None)
    if isinstance(value, str):
        return f"write it as a block with: {', '.join(sorted(known))}"
    block = value if isinstance(value, dict) else {}
    for key in sorted(block.keys() - known):
        return f"`{key}` in it leads out of the release, or nobody has looked at what it does"
    return next((why for inner in block.values() for why in _ways_out(inner, dotted=False)), None)


def _ways_out(value: Any, *, dotted: bool) -> Iterator[str]:
    """Yield what in a value names a path, an address, a module or a class."""
    match value:
        case str():
            plain = value.replace("::", "")
            is_module = _MODULE.fullmatch(plain) and not dotted
            if value in _FORBIDDEN_WORDS or not _WORD.fullmatch(plain) or is_module:
                yield f"{value[:60]!r} in it reads like a path, an address, a module or a class"
        case dict():
            for key, inner in value.items():
                if key == "model" or "." in key or OUTWARD.search(key):
                    yield f"`{key}` in it speaks of a path, an address or code"
                yield from _ways_out(inner, dotted=dotted)
        case list() | tuple():
            for item in value:
                yield from _ways_out(item, dotted=dotted)
        case _:
            pass
