"""Turns a release into the arguments of `tritonserver`; refuses those that Triton or Sluice would not have. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from environments.errors import Problem, SpecError
from reconciler.runtimes.vllm_command import check_engine as check_vllm

Check = Callable[[Any], bool]


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_int(value) or isinstance(value, float)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_text(each) for each in value)


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_text_map(value: Any) -> bool:
    return _is_map(value) and all(_is_text(each) for each in value.values())


_KINDS: Mapping[Check, str] = {
    _is_int: "a whole number",
    _is_number: "a number",
    _is_bool: "true or false",
    _is_text: "a text",
    _is_texts: "a list of texts",
    _is_map: "a block",
    _is_text_map: "a block of texts",
}

OF_THE_MODEL: Mapping[str, Check] = {
    "instance_count": _is_int,
    "instance_kind": _is_text,
    "max_batch_size": _is_int,
    "parameters": _is_text_map,
    "version": _is_int,
    "vllm": _is_map,
    "warmup_request": _is_map,
}
"""Arguments that go into the model's configuration, or say how it is warmed up, and not to the server."""

OF_THE_SERVER: Mapping[str, Check] = {
    "allow_cpu_metrics": _is_bool,
    "allow_gpu_metrics": _is_bool,
    "backend_config": _is_texts,
    "buffer_manager_thread_count": _is_int,
    "cache_config": _is_texts,
    "cuda_memory_pool_byte_size": _is_texts,
    "cuda_virtual_address_size": _is_texts,
    "enable_peer_access": _is_bool,
    "exit_timeout_secs": _is_int,
    "grpc_infer_allocation_pool_size": _is_int,
    "grpc_infer_response_compression_level": _is_text,
    "grpc_keepalive_time": _is_int,
    "grpc_keepalive_timeout": _is_int,
    "grpc_max_connection_age": _is_int,
    "grpc_max_connection_age_grace": _is_int,
    "host_policy": _is_texts,
    "http_header_forward_pattern": _is_text,
    "http_max_input_size": _is_int,
    "http_thread_count": _is_int,
    "log_error": _is_bool,
    "log_info": _is_bool,
    "log_verbose": _is_int,
    "log_warning": _is_bool,
    "metrics_interval_ms": _is_number,
    "min_supported_compute_capability": _is_number,
    "model_load_gpu_limit": _is_texts,
    "model_load_retry_count": _is_int,
    "model_load_thread_count": _is_int,
    "pinned_memory_pool_byte_size": _is_int,
    "rate_limit": _is_text,
    "rate_limit_resource": _is_texts,
    "strict_readiness": _is_bool,
}
KNOWN = tuple(sorted({*OF_THE_MODEL, *OF_THE_SERVER}))

_ADDRESS = "the platform gives each server its addresses and ports"
_REPOSITORY = "the repository is made of the release, and holds nothing else"
OWNED: Mapping[str, str] = {
    "allow_grpc": _ADDRESS,
    "allow_http": _ADDRESS,
    "allow_metrics": "the judge reads them",
    "backend_directory": "which server is used is `serve_command`'s matter",
    "exit_on_error": "a server without its model must end, so that it is seen",
    "grpc_address": _ADDRESS,
    "grpc_port": _ADDRESS,
    "grpc_restricted_protocol": "nobody but Sluice loads models",
    "http_address": _ADDRESS,
    "http_port": _ADDRESS,
    "http_restricted_api": "nobody but Sluice loads models",
    "id": "it tells one start of the server from the next",
    "load_model": _REPOSITORY,
    "metrics_address": _ADDRESS,
    "metrics_config": "the judge reads them",
    "metrics_port": _ADDRESS,
    "model_control_mode": "what a server serves must not change while it is judged",
    "model_repository": _REPOSITORY,
    "model_store": _REPOSITORY,
    "repository_poll_secs": "what a server serves must not change while it is judged",
}
DEFAULTS: Mapping[str, Any] = {"exit_timeout_secs": 20, "strict_readiness": True}
"""What Sluice says where a release does not: servers end within the 30 s that a slot gives them."""

CONTROL_HEADER = "x-sluice-control"
RESTRICTED = ("model-repository", "shared-memory", "trace", "logging")
"""What a client of the endpoint must not reach: it could replace the model, or read the server's memory."""
GRPC_OFFSET, METRICS_OFFSET = 1, 2
"""Triton's own ports are 8000, 8001 and 8002: those of gRPC and metrics follow that of HTTP everywhere."""

_INSTANCE_KINDS = ("auto", "cpu", "gpu", "model")


def check_engine(engine: Mapping[str, Any]) -> None:
    """Refuse arguments that Triton does not know, that Sluice sets itself, or whose value could not be meant.

    Raises:
        SpecError: `RUN-001`, and `RUN-006` for those that lead out of the release, for each of them, sorted by name.
    """
    problems = [problem for name, value in sorted(engine.items()) for problem in _problems(name, value)]
    if problems:
        raise SpecError(problems)


def server_arguments(
    engine: Mapping[str, Any], *, repository: str, models: tuple[str, ...], control: str, host: str, port: int
) -> tuple[str, ...]:
    """Return the arguments of `tritonserver`; ports of gRPC and metrics follow `port`.

    `control` is the word without which models can be neither loaded nor unloaded.

    Raises:
        SpecError: `RUN-001`, `RUN-006` an engine argument cannot be used.
    """
    check_engine(engine)
    ports = {"http": port, "grpc": port + GRPC_OFFSET, "metrics": port + METRICS_OFFSET}
    rule = f"{','.join(RESTRICTED)}:{CONTROL_HEADER}={control}"
    own = (
        f"--model-repository={repository}",
        "--model-control-mode=explicit",
        *(f"--load-model={name}" for name in models),
        "--exit-on-error=true",
        *(f"--{name}-address={host}" for name in ports),
        *(f"--{name}-port={number}" for name, number in ports.items()),
        "--metrics-config=histogram_latencies=true",
        f"--http-restricted-api={rule}",
        f"--grpc-restricted-protocol={rule}",
    )
    told = {**DEFAULTS, **{name: value for name, value in engine.items() if name in OF_THE_SERVER}}
    return (*own, *(part for name, value in sorted(told.items()) for part in _option(name, value)))


def _problems(name: str, value: Any) -> Iterator[Problem]:
    where = f"engine.{name}"
    if name in OWNED:
        yield Problem(where, "RUN-001", f'engine argument "{name}" is not for a release to set', OWNED[name])
        return
    check = OF_THE_MODEL.get(name) or OF_THE_SERVER.get(name)
    if check is None:
        close = difflib.get_close_matches(name.replace("-", "_").lower(), KNOWN, n=3, cutoff=0.6)
        why = f"nearest: {', '.join(close)}" if close else f"none of the {len(KNOWN)} known names is like it"
        do = "use the names of `tritonserver --help` in snake_case, or one of docs/how-to/triton.md"
        yield Problem(where, "RUN-001", f'Triton has no engine argument "{name}"', why, do)
    elif not check(value):
        what = f'engine argument "{name}" is {value!r}, not {_KINDS[check]}'
        yield Problem(where, "RUN-001", what, do="correct its value, or leave it out to get Triton's default")
    else:
        yield from _meaningless(name, value, where)
        yield from _leaving(name, value, where)


def _meaningless(name: str, value: Any, where: str) -> Iterator[Problem]:
    """Yield what is of the right type and still cannot be meant."""
    if name == "instance_kind" and value not in _INSTANCE_KINDS:
        yield Problem(where, "RUN-001", f'instance_kind is "{value}"', f"it is one of {', '.join(_INSTANCE_KINDS)}")
    if name in ("instance_count", "version") and value < 1:
        yield Problem(where, "RUN-001", f"{name} is {value}", "it counts from 1")
    if name == "max_batch_size" and value < 0:
        yield Problem(where, "RUN-001", f"max_batch_size is {value}", "it is 0 for a model without batches, or more")
    if name == "strict_readiness" and value is False:
        why = "a server would be ready before its model is, and a rollout would go on without one"
        yield Problem(where, "RUN-001", "strict_readiness is false", why, "leave it out")
    if name == "vllm":
        yield from _of_vllm(value, where)


def _of_vllm(value: Mapping[str, Any], where: str) -> Iterator[Problem]:
    """Yield what vLLM's own command would refuse of the settings of Triton's vLLM backend."""
    try:
        check_vllm(value)
    except SpecError as error:
        for problem in error.problems:
            name = problem.where.removeprefix("engine.")
            yield Problem(f"{where}.{name}", problem.code, problem.what, problem.why, problem.do)


def _leaving(name: str, value: Any, where: str) -> Iterator[Problem]:
    """Yield the values that lead to files or would be read as an option of their own."""
    texts = value if isinstance(value, list) else [value]
    for text in (each for each in texts if isinstance(each, str)):
        if text.startswith("-") or ("/" in text and name != "http_header_forward_pattern") or ".." in text:
            what = f'engine argument "{name}" leads out of the release'
            yield Problem(where, "RUN-006", what, f"{text!r} names a place that no digest covers", "leave it out")


def _option(name: str, value: Any) -> Iterator[str]:
    flag = "--" + name.replace("_", "-")
    for each in value if isinstance(value, list) else [value]:
        yield f"{flag}={str(each).lower() if isinstance(each, bool) else each}"
