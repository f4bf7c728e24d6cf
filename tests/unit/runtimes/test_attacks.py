"""What engine arguments may try: run code that nobody hashed, read other files, call other hosts, inject options."""

from __future__ import annotations

import re
from typing import Any

import pytest

from environments.errors import SluiceError
from policies.engine import OUTWARD, REVIEWED, escapes
from reconciler.core.model.release import Artifact, Release
from reconciler.runtimes.vllm import VllmRuntime
from reconciler.runtimes.vllm_arguments import KNOWN, OWNED

RUNS_CODE: tuple[tuple[str, Any], ...] = (
    ("trust_remote_code", True),
    ("trust_remote_code", False),
    ("middleware", "evil.Middleware"),
    ("middleware", ["evil.Middleware"]),
    ("logits_processors", ["evil.Processor"]),
    ("tool_parser_plugin", "/tmp/evil.py"),
    ("reasoning_parser_plugin", "/tmp/evil.py"),
    ("io_processor_plugin", "evil"),
    ("worker_cls", "evil.Worker"),
    ("worker_extension_cls", "evil.Extension"),
    ("scheduler_cls", "evil.Scheduler"),
    ("model_class_overrides", {"LlamaForCausalLM": "evil:Model"}),
    ("distributed_executor_backend", "evil.Executor"),
    ("ec_manager_config", {"encoder_cache_manager_cls": "evil.Manager"}),
    ("compilation_config", {"backend": "evil.compile"}),
    ("compilation_config", {"inductor_passes": {"post_grad": "evil.run"}}),
    ("compilation_config", {"inductor_compile_config": {"cpp.cxx": "sh"}}),
    ("compilation_config", "evil.compile"),
    ("speculative_config", {"method": "custom_class", "model": "evil.Proposer"}),
    ("spec_method", "custom_class"),
    ("trust_request_chat_template", True),
    ("trust_request_mm_kwargs", True),
    ("structured_outputs_config", {"reasoning_parser_plugin": "/tmp/evil.py"}),
    ("additional_config", {"anything": "goes"}),
    ("hf_overrides", {"auto_map": {"AutoModel": "evil--Model"}}),
    ("hf_overrides", {"text_config": {"sbert_ce_default_activation_function": "evil.run"}}),
    ("hf_overrides", "evil.override"),
    ("override_generation_config", {"custom_generate": "evil/repo"}),
)
READS_ELSEWHERE: tuple[tuple[str, Any], ...] = (
    ("tokenizer", "/other"),
    ("tokenizer_revision", "main"),
    ("code_revision", "main"),
    ("speculative_config", {"method": "draft_model", "model": "org/draft", "num_speculative_tokens": 3}),
    ("speculative_config", {"draft_load_config": {}}),
    ("spec_model", "org/draft"),
    ("load_format", "pt"),
    ("load_format", "dummy"),
    ("load_format", "runai_streamer"),
    ("model_loader_extra_config", {"tensorizer_uri": "s3://evil/x"}),
    ("allowed_local_media_path", "/"),
    ("download_dir", "/tmp"),
    ("default_mm_loras", {"image": "/tmp/lora"}),
    ("chat_template", "/etc/passwd"),
    ("chat_template", "{{ messages }}"),
    ("generation_config", "/other"),
    ("hf_config_path", "/other"),
    ("hf_overrides", {"_name_or_path": "org/other"}),
    ("mm_encoder_fp8_scale_path", "/x"),
    ("mm_encoder_fp8_scale_save_path", "/x"),
    ("log_config_file", "/x"),
    ("logging_config", {"pylogging_config_file": "/x"}),
    ("compilation_config", {"cache_dir": "/x"}),
    ("compilation_config", {"debug_dump_path": "/x"}),
    ("profiler_config", {"torch_profiler_dir": "/x"}),
    ("quantization_config", {"ignored": "../x"}),
    ("quantization", "~/x"),
    ("mm_processor_kwargs", {"deep": [{"deeper": "file:///x"}]}),
)
CALLS_ELSEWHERE: tuple[tuple[str, Any], ...] = (
    ("otlp_traces_endpoint", "http://evil:4317"),
    ("kv_transfer_config", {"kv_connector": "X", "kv_connector_module_path": "evil"}),
    ("kv_events_config", {"endpoint": "tcp://*:5557"}),
    ("ec_transfer_config", {"ec_ip": "10.0.0.1"}),
    ("weight_transfer_config", {"backend": "nccl"}),
    ("tool_server", "evil:80"),
    ("master_addr", "10.0.0.1"),
    ("master_port", 4711),
    ("data_parallel_address", "10.0.0.1"),
    ("data_parallel_rpc_port", 4711),
    ("grpc_port", 4711),
    ("nnodes", 2),
)
INJECTS: tuple[tuple[str, Any], ...] = (
    ("lora_target_modules", ["q_proj", "--host", "0.0.0.0"]),
    ("lora_target_modules", ["--host=0.0.0.0"]),
    ("allowed_media_domains", ["example.com", "--trust-remote-code"]),
    ("cudagraph_capture_sizes", ["--trust-remote-code"]),
    ("response_role", "--trust-remote-code"),
    ("dtype", "-x"),
    ("kv_cache_dtype_skip_layers", ["-1x"]),
    ("offload_params", [["--host"]]),
)
FORBIDDEN = (*RUNS_CODE, *READS_ELSEWHERE, *CALLS_ELSEWHERE, *INJECTS)
ALLOWED: tuple[tuple[str, Any], ...] = (
    ("max_model_len", 8192),
    ("max_num_batched_tokens", "1.5k"),
    ("kv_cache_memory_bytes", "128M"),
    ("gpu_memory_utilization", 0.9),
    ("dtype", "bfloat16"),
    ("quantization", "compressed-tensors"),
    ("tool_call_parser", "llama3_json"),
    ("reasoning_parser", "deepseek_r1"),
    ("reasoning_config", {"reasoning_start_str": "<think>", "reasoning_end_str": "</think>"}),
    ("enable_auto_tool_choice", True),
    ("load_format", "safetensors"),
    ("generation_config", "vllm"),
    ("override_generation_config", {"temperature": 0.7, "top_p": 0.9}),
    ("speculative_config", {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4}),
    ("compilation_config", {"cudagraph_mode": "FULL", "custom_ops": ["-rms_norm"], "splitting_ops": ["vllm::attn"]}),
    ("compilation_config", 3),
    ("hf_overrides", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}),
    ("limit_mm_per_prompt", {"image": 2}),
    ("lora_target_modules", ["q_proj", "model.layers.0.mlp"]),
    ("allowed_media_domains", ["images.example.com"]),
    ("allowed_origins", ["https://example.com"]),
    ("disable_access_log_for_endpoints", "/health,/metrics"),
    ("custom_histogram_buckets", {"time_to_first_token": [0.1, 1.0]}),
    ("device_ids", "2,3"),
    ("seed", -1),
    ("distributed_executor_backend", "mp"),
    ("tokenizer_mode", "mistral"),
)


def arguments(name: str, value: Any) -> tuple[str, ...]:
    release = Release("chat", "vllm", Artifact("file:m", "sha256:0"), engine={name: value})
    return VllmRuntime().options(release, paths={"model": "/m"}, host="127.0.0.1", port=4711).arguments


@pytest.mark.parametrize(("name", "value"), FORBIDDEN, ids=str)
def test_it_is_refused_before_a_plan_and_again_at_the_start(name: str, value: Any) -> None:
    assert name in KNOWN
    for attempt in (lambda: VllmRuntime().check({name: value}), lambda: arguments(name, value)):
        with pytest.raises(SluiceError) as caught:
            attempt()
        assert caught.value.code == "RUN-006"
        problem = caught.value.problem
        assert problem.where == f"engine.{name}"
        assert problem.why
        assert problem.do


@pytest.mark.parametrize(("name", "value"), ALLOWED, ids=str)
def test_what_stays_inside_the_release_is_passed_on(name: str, value: Any) -> None:
    assert name in KNOWN
    said = arguments(name, value)
    assert said[7] == "--" + name.replace("_", "-")


def test_no_value_becomes_an_option_of_its_own() -> None:
    """However values are written, every option on the command line is one that Sluice or an argument's name made."""
    for name, value in ALLOWED:
        options = [part for part in arguments(name, value)[7:] if re.match(r"--?[A-Za-z]", part)]
        assert options == ["--" + name.replace("_", "-")]


def test_every_argument_that_reads_like_a_way_out_was_looked_at() -> None:
    """A new vLLM brings new arguments: whose name speaks of paths, addresses or classes is refused until reviewed."""
    unseen = [name for name in KNOWN if OUTWARD.search(name) and name not in OWNED]
    for name in unseen:
        assert name in REVIEWED or list(escapes("vllm", {name: "x"})), name
    assert {name for name in REVIEWED if name not in KNOWN} == set()


def test_an_argument_of_tomorrow_is_refused_by_its_name_alone() -> None:
    assert list(escapes("vllm", {"future_plugin_path": True}))
    assert list(escapes("vllm", {"draft_model_url": 1}))
