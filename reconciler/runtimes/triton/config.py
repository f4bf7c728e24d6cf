"""What Triton's `ModelConfig` may say, checked, and the configuration with which a release is served. Pure.

Source: `protobuf/model_config.proto` of triton-inference-server/common, and the backends of its 26.07 images.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from environments.errors import SluiceError, nearest
from reconciler.runtimes.triton.text import Message, Value, Word, parse_text

CONFIG = "config.pbtxt"
RELEASE_PARAMETER = "sluice_release"
"""The parameter of a model's configuration that names the release: it is how a server proves what it serves."""

BACKENDS = (
    "dali", "fil", "identity", "onnxruntime", "openvino", "python", "pytorch", "tensorflow", "tensorrt", "tensorrtllm",
    "vllm",
)  # fmt: skip
PLATFORMS = (
    "ensemble", "onnxruntime_onnx", "pytorch_libtorch", "tensorflow_graphdef", "tensorflow_savedmodel", "tensorrt_plan",
)  # fmt: skip
FIELDS = (
    "backend", "batch_input", "batch_output", "cc_model_filenames", "default_model_filename", "dynamic_batching",
    "ensemble_scheduling", "input", "instance_group", "max_batch_size", "metric_tags", "model_metrics",
    "model_operations", "model_repository_agents", "model_transaction_policy", "model_warmup", "name", "optimization",
    "output", "parameters", "platform", "response_cache", "runtime", "sequence_batching", "version_policy",
)  # fmt: skip
TYPES = tuple(
    f"TYPE_{name}"
    for name in (
        "BF16", "BOOL", "FP16", "FP32", "FP64", "INT16", "INT32", "INT64", "INT8", "STRING", "UINT16", "UINT32",
        "UINT64", "UINT8",
    )
)  # fmt: skip
KINDS = ("KIND_AUTO", "KIND_CPU", "KIND_GPU", "KIND_MODEL")
BACKEND_OF: Mapping[str, str] = {
    "model.py": "python",
    "model.onnx": "onnxruntime",
    "model.plan": "tensorrt",
    "model.xml": "openvino",
}
"""The backend that a model file's name tells, where no configuration says it."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def read_config(text: str, *, where: str, folder: str | None, files: Iterable[str]) -> Message:
    """Return the configuration in `text`, checked, with its backend.

    `folder` is the model's folder, whose name it must have; None where the model is not in a folder of its own.
    `files` are the names of the model's own files, which tell the backend where the configuration does not.

    Raises:
        SluiceError: `RUN-008`, naming everything that is wrong.
    """
    try:
        config = parse_text(text)
    except ValueError as error:
        raise refused(where, [f"it cannot be read: {error}"]) from error
    config = with_backend(config, files)
    wrong = [*_unknown(config), *_names(config, folder), *_backend(config), *_shape(config)]
    if wrong:
        raise refused(where, wrong)
    return config


def with_backend(config: Message, files: Iterable[str]) -> Message:
    """Return the configuration with a backend that its files tell, where it names none itself."""
    if config.last("backend") or config.last("platform"):
        return config
    told = sorted({BACKEND_OF[name] for name in (PurePosixPath(f).name for f in files) if name in BACKEND_OF})
    return config.plus(("backend", told[0])) if len(told) == 1 else config


def served_config(config: Message, *, name: str, release: str, version: int, engine: Mapping[str, Any]) -> Message:
    """Return the configuration that serves one version under `name`, with what the release's engine arguments say.

    It names the release in a parameter, and holds the server to that one version whatever else lies beside it.
    """
    instances = [engine[key] for key in ("instance_count", "instance_kind") if key in engine]
    over = [key for key in ("max_batch_size",) if key in engine]
    kept = config.but("name", "version_policy", *over, *(["instance_group"] if instances else []))
    fields: list[tuple[str, Value]] = [("max_batch_size", engine[key]) for key in over]
    if instances:
        kind = Word(f"KIND_{engine.get('instance_kind', 'auto').upper()}")
        fields.append(("instance_group", Message((("count", engine.get("instance_count", 1)), ("kind", kind)))))
    fields += [("parameters", _parameter(key, text)) for key, text in sorted(engine.get("parameters", {}).items())]
    fields.append(("parameters", _parameter(RELEASE_PARAMETER, release)))
    fields.append(("version_policy", Message((("specific", Message((("versions", version),))),))))
    return Message((("name", name), *kept.fields, *fields))


def is_ensemble(config: Message) -> bool:
    """Say whether a model only passes on to others, and so has no files."""
    return config.last("platform") == "ensemble"


def asked_versions(config: Message) -> tuple[int, ...]:
    """Return the versions that the configuration's policy names; empty where it names none."""
    policy = config.last("version_policy")
    specific = policy.last("specific") if isinstance(policy, Message) else None
    found = specific.all("versions") if isinstance(specific, Message) else ()
    return tuple(each for each in found if isinstance(each, int))


def refused(where: str, wrong: Iterable[str]) -> SluiceError:
    """Return the error about a configuration."""
    return SluiceError(
        "RUN-008",
        where=where,
        what=f"a model's configuration cannot be used: {'; '.join(wrong)}",
        do="correct config.pbtxt: docs/how-to/triton.md shows what a release needs",
    )


def _parameter(key: str, text: str) -> Message:
    return Message((("key", key), ("value", Message((("string_value", text),)))))


def _unknown(config: Message) -> Iterator[str]:
    for name in sorted({field for field, _ in config.fields} - set(FIELDS)):
        yield f'it has no field "{name}" ({nearest(name, FIELDS)})'


def _names(config: Message, folder: str | None) -> Iterator[str]:
    name = config.last("name")
    if name is None:
        return
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield f"{name!r} is no name of a model"
    elif folder is not None and name != folder:
        yield f'its name is "{name}" and its folder is called "{folder}"; Triton wants them the same'


def _backend(config: Message) -> Iterator[str]:
    backend, platform = config.last("backend"), config.last("platform")
    if backend is None and platform is None:
        yield "it names no backend, and no model file of a known name tells one"
    if backend is not None and backend not in BACKENDS:
        yield f'the backend "{backend}" is not known ({nearest(str(backend), BACKENDS)})'
    if platform is not None and platform not in PLATFORMS:
        yield f'the platform "{platform}" is not known ({nearest(str(platform), PLATFORMS)})'


def _shape(config: Message) -> Iterator[str]:
    size = config.last("max_batch_size")
    if size is not None and not (isinstance(size, int) and size >= 0):
        yield "max_batch_size is not a number from 0 on"
    for field in ("input", "output"):
        for place, tensor in enumerate(config.all(field)):
            yield from _tensor(tensor, f"{field}[{place}]")
    for group in config.all("instance_group"):
        kind = group.last("kind") if isinstance(group, Message) else None
        if not isinstance(group, Message) or (kind is not None and _word(kind) not in KINDS):
            yield f"instance_group is not of a known kind ({', '.join(KINDS)})"


def _tensor(tensor: Value, what: str) -> Iterator[str]:
    if not isinstance(tensor, Message):
        yield f"{what} is not a tensor"
        return
    if not isinstance(tensor.last("name"), str):
        yield f"{what} has no name"
    if (kind := _word(tensor.last("data_type"))) not in TYPES:
        yield f"{what} has the data_type {kind or 'none'} ({nearest(kind, TYPES)})"
    if not tensor.all("dims"):
        yield f"{what} has no dims"
    elif not all(isinstance(each, int) and (each > 0 or each == -1) for each in tensor.all("dims")):
        yield f"{what} has dims that are neither sizes nor -1"


def _word(value: Value | None) -> str:
    return value.name if isinstance(value, Word) else ""
