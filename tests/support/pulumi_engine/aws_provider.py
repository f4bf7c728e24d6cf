"""The `aws` provider of the tests: refuses what AWS and its provider would refuse, and remembers what it made.

Run as a program: `python -m tests.support.pulumi_engine.aws_provider FILE`. Started by `harness.py`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import provider_pb2

from tests.support.pulumi_engine import aws_data, aws_facts, aws_outputs, aws_schema
from tests.support.pulumi_engine.aws_cloud import AlreadyExists, AwsCloud, Resource
from tests.support.pulumi_engine.aws_rules import Asked, When, propagation, refusal
from tests.support.pulumi_engine.provider import (
    Change,
    Failure,
    Provider,
    Refused,
    answering,
    changes,
    checked,
    difference,
    serve,
)
from tests.support.pulumi_engine.wire import UNKNOWN, Properties, decode, encode, has_unknown

_REFERENCE = re.compile(r"(vpc|subnet|sg|rtb|igw|nat|eipalloc|lt|cr)-[0-9a-f]{17}")
_KILLED = 9


class AwsProvider(Provider):
    """Checks inputs against the installed package, and keeps resources in an `AwsCloud`."""

    name = "aws"

    def __init__(self, cloud: AwsCloud) -> None:
        super().__init__()
        self._cloud = cloud

    def check_configuration(self, inputs: Properties) -> Iterable[Failure]:
        """Return unknown, missing and mistyped inputs of the provider itself."""
        return aws_schema.configuration_failures(inputs)

    @answering
    def Check(self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        """Give a name where none is given, and check every input."""
        token, inputs = request.type or _token(request.urn), decode(request.news)
        named = _named(token, inputs, decode(request.olds), urn=request.urn, seed=bytes(request.randomSeed))
        failures = [*aws_schema.failures(token, named), *self._without_region(named, context)]
        return checked(named, failures)

    @answering
    def Diff(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        """Compare inputs; an id made of inputs cannot exist twice, so there the old one goes first."""
        token = request.type or _token(request.urn)
        replacing = aws_outputs.replacing(token)
        found = changes(decode(request.old_inputs), decode(request.news), replacing)
        moved = "region" in found.changed or any(
            f"{{{name}}}" in aws_facts.NAMED.get(token, "") for name in found.replaces
        )
        delete_first = bool(found.replaces) and token in aws_facts.NAMED and not moved
        return difference(Change(found.changed, found.replaces, delete_first))

    @answering
    def Create(self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        """Make a resource, or say what it would be."""
        token, inputs = request.type or _token(request.urn), decode(request.properties)
        region = self._region(inputs, context)
        if request.preview:
            properties = self._outputs(token, inputs, region=region, context=context, identity=UNKNOWN)
            return provider_pb2.CreateResponse(properties=encode(properties))
        self._suffer(token)
        self._refuse_dangling(token, inputs)
        asked = Asked(token, inputs, region, self._cloud)
        if unseen := propagation.unseen(asked):
            self._ask_again(asked, unseen)
        self._judge(asked, "create")
        identity = _identity(token, inputs, region=region, seed=f"{request.urn} {len(self._cloud.calls())}")
        properties = self._outputs(token, inputs, region=region, context=context, identity=identity)
        made = Resource(token, _home(token, region), identity, request.urn, inputs, properties)
        try:
            self._cloud.add(made)
        except AlreadyExists as taken:
            raise Refused(f"creating {token} ({identity}): EntityAlreadyExists: {taken} already exists") from taken
        return provider_pb2.CreateResponse(id=identity, properties=encode({**properties, "id": identity}))

    @answering
    def Update(self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:
        """Change a resource in place, or say what it would be; what AWS computed stays."""
        token, inputs = request.type or _token(request.urn), decode(request.news)
        region = self._region(inputs, context)
        properties = self._outputs(token, inputs, region=region, context=context, identity=request.id)
        if "latestVersion" in properties:
            properties["latestVersion"] = UNKNOWN if request.preview else decode(request.olds)["latestVersion"] + 1
        if not request.preview:
            self._refuse_dangling(token, inputs)
            self._cloud.change(Resource(token, _home(token, region), request.id, request.urn, inputs, properties))
        return provider_pb2.UpdateResponse(properties=encode({**properties, "id": request.id}))

    @answering
    def Read(self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:
        """Return a resource as it is, or nothing when it is gone."""
        token, given = request.type or _token(request.urn), decode(request.inputs) or decode(request.properties)
        found = self._cloud.find(token, _home(token, self._region(given, context)), request.id)
        if found is None:
            return provider_pb2.ReadResponse()
        properties = encode({**found.outputs, "id": found.id})
        return provider_pb2.ReadResponse(id=found.id, inputs=encode(found.inputs), properties=properties)

    @answering
    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Remove a resource; refuse one that is protected, succeed if it is gone."""
        token, given = request.type or _token(request.urn), decode(request.old_inputs) or decode(request.properties)
        home = _home(token, self._region(given, context))
        found = self._cloud.find(token, home, request.id)
        if found is not None and found.inputs.get("deletionProtection") is True:
            raise Refused(f"deleting {token} ({request.id}): deletion protection is on")
        if found is not None:
            self._judge(Asked(token, found.inputs, found.region, self._cloud, found.id), "delete")
        self._cloud.remove(found or Resource(token, home, request.id, request.urn, {}, {}))
        return empty_pb2.Empty()

    @answering
    def Invoke(self, request: provider_pb2.InvokeRequest, context: grpc.ServicerContext) -> provider_pb2.InvokeResponse:
        """Answer a data source."""
        arguments = decode(request.args)
        answer = aws_data.answer(request.tok, arguments, region=self._region(arguments, context), cloud=self._cloud)
        return provider_pb2.InvokeResponse(**{"return": encode(answer)})

    def _outputs(
        self, token: str, inputs: Properties, *, region: str, context: grpc.ServicerContext, identity: str
    ) -> Properties:
        tags = self.configuration(context).get("defaultTags", {}).get("tags", {})
        return aws_outputs.outputs(token, inputs, region=region, account_tags=tags, identity=identity)

    def _region(self, inputs: Properties, context: grpc.ServicerContext) -> str:
        own = inputs.get("region")
        region = own if isinstance(own, str) and own != UNKNOWN else self.configuration(context).get("region")
        if not region:
            raise Refused("the aws provider has no region; give one provider a region, and its resources that provider")
        return str(region)

    def _without_region(self, inputs: Properties, context: grpc.ServicerContext) -> Iterator[Failure]:
        if not inputs.get("region") and not self.configuration(context).get("region"):
            yield Failure("region", "the aws provider of this resource has no region")

    def _ask_again(self, asked: Asked, unseen: propagation.Unseen) -> None:
        """Do what the real provider does about a role that is not seen yet: ask again, or give up."""
        if not unseen.retried:
            raise Refused(f"creating {asked.token}: {unseen.said}")
        self._cloud.note_retry(asked.token)

    @staticmethod
    def _judge(asked: Asked, when: When) -> None:
        """Refuse what AWS refuses although every input has the right type."""
        if said := refusal(asked, when):
            raise Refused(f"{'creating' if when == 'create' else 'deleting'} {asked.token} ({asked.id}): {said}")

    def _suffer(self, token: str) -> None:
        """Do what a test asked for: die as a killed process does, or refuse."""
        if self._cloud.spend_life():
            os._exit(_KILLED)
        if refusal := self._cloud.refusal(token):
            raise Refused(refusal)

    def _refuse_dangling(self, token: str, inputs: Properties) -> None:
        """Refuse an id of the network that no resource has, as AWS does (`InvalidSubnetID.NotFound`)."""
        for text in _texts(inputs):
            if _REFERENCE.fullmatch(text) and not self._cloud.has(text) and not self._is_default(text):
                raise Refused(f'creating {token}: NotFound: "{text}" does not exist')

    def _is_default(self, identity: str) -> bool:
        """Return whether AWS itself made this: a security group or route table that came with a VPC or cluster."""
        makers = ("aws:ec2/vpc:Vpc", "aws:eks/cluster:Cluster")
        return any(identity in _texts(r.outputs) for maker in makers for r in self._cloud.resources(maker))


def _identity(token: str, inputs: Properties, *, region: str, seed: str) -> str:
    try:
        return aws_outputs.identity(token, inputs, region=region, seed=seed)
    except aws_outputs.MissingName as missing:
        raise Refused(f'creating {token}: the input "{missing}" is needed and is not there') from missing


def _named(token: str, inputs: Properties, olds: Properties, *, urn: str, seed: bytes) -> Properties:
    """Return the inputs with a name drawn from the resource's, kept from the last time, where none is given."""
    found = aws_schema.resource_type(token)
    if found is None or has_unknown(inputs.get("namePrefix")):
        return inputs
    drawn = f"{urn.rpartition('::')[2]}-{seed.hex()[:7]}"
    wanted = [
        n
        for n in aws_facts.AUTONAMED
        if n in found.inputs.hints and n not in {*inputs, *found.inputs.required} and f"{n}Prefix" not in inputs
    ]
    return inputs | {name: olds.get(name) or drawn for name in wanted}


def _texts(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for inner in value.values():
                yield from _texts(inner)
        case list():
            for inner in value:
                yield from _texts(inner)
        case str():
            yield value
        case _:
            pass


def _home(token: str, region: str) -> str:
    return "" if token.startswith(aws_facts.GLOBAL) else region


def _token(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


if __name__ == "__main__":
    serve(AwsProvider(AwsCloud(Path(sys.argv[1]))))
