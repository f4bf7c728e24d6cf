"""Loads and unloads models of a running Triton, over HTTP or gRPC, and reads what it says of them.

A port with two adapters over `tritonclient`; its gRPC half wants protobuf 6, so it is imported where it is used.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol, TypeVar

from environments.errors import SluiceError
from reconciler.runtimes.triton.options import CONTROL_HEADER

T = TypeVar("T")
_GRPC_PREFIX = "triton-grpc-protocol-"
_GONE_S = 0.1


@dataclass(frozen=True)
class ModelState:
    """What a server says of one model: the versions that are ready, and its inputs and outputs by name → datatype."""

    name: str
    versions: tuple[str, ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


class ModelControl(Protocol):
    """What can be done to the models of one server. Each verb can be called again."""

    async def load(self, model: str) -> None:
        """Load a model; return when it is ready. One that is loaded is replaced by what its folder holds now.

        Raises:
            SluiceError: `RUN-009` the server did not load it, with the reason that it gave.
        """
        ...

    async def unload(self, model: str, *, limit_s: float = 30.0) -> None:
        """Unload a model, letting its requests in flight finish; return when it is gone. Succeed if it was not there.

        Raises:
            SluiceError: `RUN-009` the server did not unload it in `limit_s` seconds.
        """
        ...

    async def ready(self, model: str) -> bool:
        """Return whether a model answers."""
        ...

    async def state(self, model: str) -> ModelState:
        """Return what the server says of a model.

        Raises:
            SluiceError: `RUN-009` it is not ready, or the server does not answer.
        """
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


class TritonControl:
    """`ModelControl` over one of tritonclient's two asynchronous clients, which have the same verbs."""

    def __init__(self, client: Any, failure: type[Exception], where: str, headers: Mapping[str, str]) -> None:
        self._client, self._failure, self._where, self._headers = client, failure, where, dict(headers)

    async def load(self, model: str) -> None:
        """Load a model."""
        await self._asked(self._client.load_model(model, headers=self._headers), f'"{model}" was not loaded')

    async def unload(self, model: str, *, limit_s: float = 30.0) -> None:
        """Unload a model and those that only it uses; the server answers before they are gone."""
        asked = self._client.unload_model(model, headers=self._headers, unload_dependents=True)
        await self._asked(asked, f'"{model}" was not unloaded')
        try:
            async with asyncio.timeout(limit_s):
                while await self._unloading(model):  # noqa: ASYNC110 - the server tells no end
                    await asyncio.sleep(_GONE_S)
        except TimeoutError as error:
            raise self._refused(f'"{model}" was not unloaded', f"it is still there after {limit_s:g} s") from error

    async def ready(self, model: str) -> bool:
        """Return whether a model answers."""
        try:
            return bool(await self._client.is_model_ready(model))
        except self._failure:
            return False

    async def state(self, model: str) -> ModelState:
        """Return what the server says of a model."""
        told = _plain(await self._asked(self._client.get_model_metadata(model), f'"{model}" is not there'))
        inputs, outputs = ({t["name"]: t["datatype"] for t in told.get(key, [])} for key in ("inputs", "outputs"))
        return ModelState(told["name"], tuple(told.get("versions", ())), inputs, outputs)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def _unloading(self, model: str) -> bool:
        asked = self._client.get_model_repository_index(headers=self._headers)
        index = await self._asked(asked, "the models cannot be listed")
        listed = _plain(index)
        models = listed["models"] if isinstance(listed, dict) else listed
        return any(each["name"] == model and each.get("state") in ("READY", "UNLOADING") for each in models)

    async def _asked(self, call: Awaitable[T], what: str) -> T:
        try:
            return await call
        except (self._failure, OSError) as error:
            raise self._refused(what, str(error)) from error

    def _refused(self, what: str, why: str) -> SluiceError:
        return SluiceError(
            "RUN-009",
            where=self._where,
            what=what,
            why=why,
            do="look at the server's log, which says more",
            retryable=True,
        )


def http_control(address: str, control: str) -> ModelControl:
    """Return the control of the server whose HTTP port is at `address` (HOST:PORT); `control` is its word.

    Raises:
        SluiceError: `RUN-004` tritonclient is not installed.
    """
    module, failure = _client("http")
    return TritonControl(module.InferenceServerClient(address), failure, address, {CONTROL_HEADER: control})


def grpc_control(address: str, control: str) -> ModelControl:
    """Return the control of the server whose gRPC port is at `address` (HOST:PORT); `control` is its word.

    Raises:
        SluiceError: `RUN-004` tritonclient's gRPC half is not installed, or its protobuf is another one than is.
    """
    module, failure = _client("grpc")
    headers = {f"{_GRPC_PREFIX}{CONTROL_HEADER}": control}
    return TritonControl(module.InferenceServerClient(address), failure, address, headers)


def _client(kind: str) -> tuple[ModuleType, type[Exception]]:
    import importlib

    try:
        module = importlib.import_module(f"tritonclient.{kind}.aio")
        failure: type[Exception] = importlib.import_module("tritonclient.utils").InferenceServerException
    except Exception as error:  # protobuf has an error of its own for messages of another version
        raise SluiceError(
            "RUN-004",
            where=f"tritonclient.{kind}",
            what=f"Triton's client for {kind} cannot be loaded",
            why=f"{type(error).__name__}: {error}",
            do="install the extra `triton`; gRPC needs `tritonclient[grpc]` and protobuf 6, without pulumi-policy",
        ) from error
    return module, failure


def _plain(answer: Any) -> Any:
    """Return an answer as plain data: gRPC's is a message, HTTP's is JSON already."""
    if isinstance(answer, dict | list):
        return answer
    import importlib

    return json.loads(importlib.import_module("google.protobuf.json_format").MessageToJson(answer))
