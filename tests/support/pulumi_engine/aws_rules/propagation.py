"""IAM is eventually consistent: other services see a role only a while after it was made.

Source: IAM user guide, troubleshooting, "Changes that I make are not always immediately visible". The provider asks
some services again until they see the role; the others' refusal ends `pulumi up`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.support.pulumi_engine.aws_rules.rule import Asked

ROLE = "aws:iam/role:Role"
# How many changes an account sees until a new role is seen everywhere: stands for some ten seconds.
SEEN_AFTER = 3


@dataclass(frozen=True)
class Unseen:
    """What a service says of a role that it does not see yet, and whether the provider asks again."""

    said: str
    retried: bool = False


# Source: terraform-provider-aws, internal/service/eks: cluster.go, access_entry.go, pod_identity_association.go and
# addon.go wait out the propagation with these messages; node_group.go asks once.
SAYS = {
    "aws:eks/cluster:Cluster": Unseen("InvalidParameterException: Error in role params", retried=True),
    "aws:eks/accessEntry:AccessEntry": Unseen(
        "InvalidParameterException: The specified principalArn is invalid: invalid principal", retried=True
    ),
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": Unseen(
        "InvalidParameterException: Role provided in the request does not exist", retried=True
    ),
    "aws:eks/addon:Addon": Unseen("InvalidParameterException: Role does not exist", retried=True),
    "aws:eks/nodeGroup:NodeGroup": Unseen("InvalidParameterException: The role cannot be found"),
}


def unseen(asked: Asked) -> Unseen | None:
    """Return what a service says of a request that names a role just made; None where it sees every role."""
    if asked.token not in SAYS:
        return None
    named = json.dumps(asked.inputs)
    for role in asked.cloud.resources(ROLE):
        age = asked.cloud.changes_since(role.urn)
        if age is not None and age < SEEN_AFTER and f'"{role.outputs.get("arn")}"' in named:
            return SAYS[asked.token]
    return None
