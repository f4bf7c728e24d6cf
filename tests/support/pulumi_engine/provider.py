"""What both providers share: the part of the provider protocol that is the same for every cloud, and how one is served.

Imports the Pulumi SDK's protocol. Called by `aws_provider` and `kubernetes_provider`, which run as programs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent import futures
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NoReturn, TypeVar

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from tests.support.lifeline import dies_with_parent
from tests.support.pulumi_engine.wire import Properties, decode, encode

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Refused(Exception):
    """The cloud says no; the text is what a user reads."""


@dataclass(frozen=True)
class Failure:
    """One input that is wrong; `path` is spelled as on the wire (`vpcConfig.subnetIds[0]`)."""

    path: str
    reason: str


@dataclass(frozen=True)
class Change:
    """What differs between two sets of inputs: the top-level properties, and those that need a new resource."""

    changed: tuple[str, ...]
    replaces: tuple[str, ...] = ()
    delete_first: bool = False


def answering(handler: Handler) -> Handler:
    """Turn a refusal into the error that the engine shows, and any other exception into one that names its type."""

    def call(self: object, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return handler(self, request, context)
        except Refused as refusal:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refusal))
        except NotImplementedError as missing:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, str(missing))

    return call  # type: ignore[return-value]


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """A provider for any number of configurations at once.

    The engine opens one connection for each provider resource of a program, and a request does not say which one it
    belongs to; the connection does. So a configuration is kept under its connection's address.
    """

    name = ""

    def __init__(self) -> None:
        self._configurations: dict[str, Properties] = {}

    def configuration(self, context: grpc.ServicerContext) -> Properties:
        """Return the configuration of the provider resource that this request came through."""
        return self._configurations.get(context.peer(), {})

    def check_configuration(self, inputs: Properties) -> Iterable[Failure]:
        """Return what is wrong with a provider's own inputs."""
        return ()

    def Handshake(self, request: object, context: object) -> provider_pb2.ProviderHandshakeResponse:
        """Ask for plain values: no secrets, outputs or references wrapped around them."""
        return provider_pb2.ProviderHandshakeResponse()

    def Attach(self, request: object, context: object) -> empty_pb2.Empty:
        """Agree: the provider sends nothing to the engine of its own accord."""
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: object, context: object) -> plugin_pb2.PluginInfo:
        """Return the version of the installed package that this provider is checked against."""
        return plugin_pb2.PluginInfo(version=metadata.version(f"pulumi-{self.name}"))

    def GetSchema(self, request: object, context: object) -> provider_pb2.GetSchemaResponse:
        """Return an empty schema; only `pulumi package` reads one."""
        return provider_pb2.GetSchemaResponse(schema="{}")

    def Parameterize(self, request: object, context: object) -> NoReturn:
        """Refuse."""
        raise NotImplementedError

    @answering
    def CheckConfig(self, request: provider_pb2.CheckRequest, context: object) -> provider_pb2.CheckResponse:
        """Check a provider resource's own inputs; values that are not strings arrive as JSON text."""
        failures = self.check_configuration(_from_json(decode(request.news)))
        return provider_pb2.CheckResponse(inputs=request.news, failures=messages(failures))

    def DiffConfig(self, request: provider_pb2.DiffRequest, context: object) -> provider_pb2.DiffResponse:
        """Say which inputs differ; a change of configuration never replaces the provider."""
        return difference(changes(decode(request.old_inputs) or decode(request.olds), decode(request.news)))

    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        """Remember the inputs for this connection."""
        self._configurations[context.peer()] = _from_json(decode(request.args))
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    def Cancel(self, request: object, context: object) -> empty_pb2.Empty:
        """Agree: nothing here takes long."""
        return empty_pb2.Empty()


def changes(old: Mapping[str, Any], new: Mapping[str, Any], replacing: Iterable[str] = ()) -> Change:
    """Compare two sets of inputs, property by property."""
    changed = tuple(sorted(k for k in {*old, *new} if k != "__defaults" and old.get(k) != new.get(k)))
    return Change(changed, tuple(sorted(set(changed) & set(replacing))))


def difference(change: Change) -> provider_pb2.DiffResponse:
    """Return a comparison as the engine wants it, with each property's own kind of change."""
    answer = provider_pb2.DiffResponse
    detail = {
        name: provider_pb2.PropertyDiff(
            kind=provider_pb2.PropertyDiff.UPDATE_REPLACE
            if name in change.replaces
            else provider_pb2.PropertyDiff.UPDATE,
            inputDiff=True,
        )
        for name in change.changed
    }
    return answer(
        changes=answer.DIFF_SOME if change.changed else answer.DIFF_NONE,
        diffs=change.changed,
        replaces=change.replaces,
        deleteBeforeReplace=change.delete_first,
        detailedDiff=detail,
        hasDetailedDiff=True,
    )


def messages(failures: Iterable[Failure]) -> list[provider_pb2.CheckFailure]:
    """Return failures as the engine wants them."""
    return [provider_pb2.CheckFailure(property=f.path, reason=f.reason) for f in failures]


def checked(inputs: Properties, failures: Iterable[Failure]) -> provider_pb2.CheckResponse:
    """Return the answer of a check."""
    return provider_pb2.CheckResponse(inputs=encode(inputs), failures=messages(failures))


def serve(provider: Provider) -> None:
    """Serve on a free port of the loopback, print the port, and end with the process that started this one."""
    dies_with_parent()()
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=16),
        options=[("grpc.max_receive_message_length", 400 << 20), ("grpc.max_send_message_length", 400 << 20)],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


def _from_json(inputs: Properties) -> Properties:
    """Undo how a provider's own inputs travel: whatever is not a string is JSON text."""
    return {key: _parsed(value) for key, value in inputs.items()}


def _parsed(value: Any) -> Any:
    if not isinstance(value, str) or value[:1] not in ("{", "[", "t", "f"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
