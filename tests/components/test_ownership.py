"""The two halves of the product meet in names and never in a field."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from components.controller_rights import READS, WRITES, ControllerRights, ControllerRightsArgs
from components.controller_role import ControllerRoleArgs, controller_policy
from components.endpoint_slots import EndpointSlots
from components.gateway import Gateway, GatewayArgs
from components.ownership import FIELDS, kinds_of, owner
from environments import names
from environments.infrastructure import GatewaySpec
from tests.components.mocked import ACCOUNT, OWNED, Made, make
from tests.components.test_endpoint_slots import arguments, endpoint, sagemaker

PLURALS = {
    "deployments": "apps/v1/Deployment",
    "leaderworkersets": "leaderworkerset.x-k8s.io/v1/LeaderWorkerSet",
    "httproutes": "gateway.networking.k8s.io/v1/HTTPRoute",
    "configmaps": "v1/ConfigMap",
    "featureflags": "core.openfeature.dev/v1beta1/FeatureFlag",
    "services": "v1/Service",
    "scaledobjects": "keda.sh/v1alpha1/ScaledObject",
}


def serving() -> list[Made]:
    """Return everything that the serving stack makes in the teams' namespaces and around SageMaker endpoints."""

    def program() -> None:
        EndpointSlots("chat", arguments(endpoint()))
        ControllerRights("rights", ControllerRightsArgs({"support": "support-prod"}, OWNED))
        Gateway(
            "gateway",
            GatewayArgs(
                region="eu-central-1",
                domain="models.example.com",
                issuer="letsencrypt",
                spec=GatewaySpec(),
                teams={},
                endpoints={"support": ["chat"]},
                namespaces={"support": "support-prod"},
                allow_slot_header=False,
                pages=(),
                owned=OWNED,
            ),
        )

    return [*make(program).made, *sagemaker().made]


def kind(made: Made) -> str:
    if made.type.startswith("kubernetes:"):
        return f"{made.inputs['apiVersion']}/{made.inputs['kind']}"
    return made.type


def leaves(value: object, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path


def test_no_field_has_two_owners() -> None:
    assert [row for row, count in Counter((f.kind, f.path) for f in FIELDS).items() if count > 1] == []


def test_the_stacks_set_no_field_that_belongs_to_someone_else() -> None:
    foreign = [
        (made.name, kind(made), path)
        for made in serving()
        for path in leaves(made.inputs)
        if owner(kind(made), path) not in (None, "pulumi")
    ]
    assert foreign == []


def test_the_stacks_make_no_object_that_belongs_to_the_reconciler() -> None:
    assert not {kind(m) for m in serving()} & kinds_of("reconciler")


def test_every_kind_that_controllers_may_write_belongs_to_the_reconciler() -> None:
    written = {PLURALS[resource] for _, resources in WRITES for resource in resources}
    assert written == {k for k in kinds_of("reconciler") if not k.startswith("aws:")}


def test_every_object_that_controllers_read_is_made_by_these_stacks_or_by_kubernetes() -> None:
    made = {kind(m) for m in serving()}
    by_kubernetes = {"pods", "pods/log", "events", "replicasets", "endpointslices"}
    for resource in (r for _, resources in READS for r in resources if r not in by_kubernetes):
        assert PLURALS[resource] in made, resource


def test_what_an_httproute_points_at_is_there_under_the_name_that_the_reconciler_uses() -> None:
    objects = {(kind(m), m.inputs["metadata"]["name"]) for m in serving() if m.type.startswith("kubernetes:")}
    assert ("gateway.networking.k8s.io/v1/Gateway", names.gateway_name("prod")) in objects
    for slot in names.SLOTS:
        assert ("v1/Service", names.slot_object("chat", slot)) in objects
        assert ("keda.sh/v1alpha1/ScaledObject", names.slot_object("chat", slot)) in objects
    assert ("v1/ServiceAccount", names.service_account("chat")) in objects


def test_a_deployment_of_a_slot_is_found_by_everything_around_it() -> None:
    pods = names.slot_labels("chat", "b")
    for made in serving():
        for path in ("spec.selector", "spec.selector.matchLabels", "spec.podSelector.matchLabels"):
            selector = made.at(path)
            if isinstance(selector, dict) and selector.get(names.SLOT_LABEL) == "b":
                assert selector.items() <= pods.items()


@pytest.mark.parametrize("verb", ["CreateEndpoint", "UpdateEndpointWeightsAndCapacities", "DeleteEndpointConfig"])
def test_controllers_may_do_in_sagemaker_what_is_theirs(verb: str) -> None:
    policy = json.loads(controller_policy(ControllerRoleArgs([], ["ap-northeast-1"], ACCOUNT, OWNED), ACCOUNT))
    allowed = {a: s["Resource"] for s in policy["Statement"] for a in s["Action"]}
    name = names.sagemaker_endpoint("prod", "*")
    assert f"arn:aws:sagemaker:ap-northeast-1:{ACCOUNT}:endpoint/{name}" in allowed[f"sagemaker:{verb}"]


def test_the_autoscaler_owns_the_desired_size_of_node_groups() -> None:
    assert owner("aws:eks/nodeGroup:NodeGroup", "scalingConfig.desiredSize") == "autoscaler"
    assert owner("aws:eks/nodeGroup:NodeGroup", "scalingConfig.minSize") == "pulumi"


def test_roles_of_variants_are_ones_that_controllers_may_pass_on() -> None:
    role = sagemaker().one("aws:iam/role:Role").inputs["name"]
    policy = json.loads(controller_policy(ControllerRoleArgs([], ["ap-northeast-1"], ACCOUNT, OWNED), ACCOUNT))
    (passed,) = [s["Resource"] for s in policy["Statement"] if s["Action"] == ["iam:PassRole"]]
    assert role.startswith(passed[0].rpartition("/")[2].rstrip("*"))
