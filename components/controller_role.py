"""The role that controllers take: it lives in AWS's own namespace, so the platform makes it once for all clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.iam import Grant, assumed_by_pods, policy
from components.tags import Owned
from environments.names import (
    CONTROLLER_NAME,
    SYSTEM_NAMESPACE,
    cluster_name,
    controller_role,
    sagemaker_endpoint,
    sagemaker_role,
)


@dataclass(frozen=True)
class ControllerRoleArgs:
    """The regions with a cluster, those with SageMaker, and the endpoints of the latter."""

    cluster_regions: Sequence[str]
    sagemaker_regions: Sequence[str]
    account: pulumi.Input[str]
    owned: Owned


class ControllerRole(pulumi.ComponentResource):
    """An IAM role for the controllers' pods.

    Costs nothing. Protects by: SageMaker rights on this environment's endpoints alone, no right to make or change a
    role, and in clusters whatever RBAC gives to the group `sluice-controllers`.
    """

    def __init__(self, name: str, args: ControllerRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:serving:ControllerRole", name, None, opts)
        self._name, self._owned = name, args.owned
        self._own = own = pulumi.ResourceOptions(parent=self)
        role = aws.iam.Role(
            name,
            name=controller_role(args.owned.environment),
            assume_role_policy=assumed_by_pods(),
            tags=args.owned.tags(name),
            opts=own,
        )
        account = pulumi.Output.from_input(args.account)
        self._rights = aws.iam.RolePolicy(
            name, role=role.id, policy=account.apply(lambda number: controller_policy(args, number)), opts=own
        )
        self.arn: pulumi.Output[str] = role.arn
        self.register_outputs({"arn": self.arn})

    def let_in(self, eks_name: pulumi.Input[str]) -> None:
        """Bind the role to the controllers' ServiceAccount of a cluster, before the first of them starts."""
        aws.eks.PodIdentityAssociation(
            self._name,
            cluster_name=eks_name,
            namespace=SYSTEM_NAMESPACE,
            service_account=CONTROLLER_NAME,
            role_arn=self.arn,
            tags=self._owned.tags(),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self._rights]),
        )


def controller_policy(args: ControllerRoleArgs, account: str) -> str:
    """Return the controllers' policy: describe clusters; run, weigh and remove SageMaker endpoints of ours."""
    environment = args.owned.environment
    grants: list[Grant] = []
    if args.cluster_regions:
        clusters = [f"arn:aws:eks:{r}:{account}:cluster/{cluster_name(environment, r)}" for r in args.cluster_regions]
        grants.append(Grant(["eks:DescribeCluster"], clusters))
    if args.sagemaker_regions:
        ours = sagemaker_endpoint(environment, "*")
        kinds = ("endpoint", "endpoint-config", "model")
        things = [f"arn:aws:sagemaker:{r}:{account}:{kind}/{ours}" for r in args.sagemaker_regions for kind in kinds]
        actions = [f"sagemaker:{verb}{kind}" for kind in SAGEMAKER_KINDS for verb in ("Create", "Delete", "Describe")]
        weigh = ["sagemaker:UpdateEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities", "sagemaker:InvokeEndpoint"]
        grants.append(Grant([*actions, *weigh, "sagemaker:InvokeEndpointWithResponseStream", *TAGS], things))
        grants.append(
            Grant(["sagemaker:ListEndpoints", "sagemaker:ListEndpointConfigs", "sagemaker:ListModels"], ["*"])
        )
        roles = [f"arn:aws:iam::{account}:role/{sagemaker_role(environment, r, '*')}" for r in args.sagemaker_regions]
        passed = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
        grants.append(Grant(["iam:PassRole"], roles, passed))
    return policy(*grants)


SAGEMAKER_KINDS = ("Endpoint", "EndpointConfig", "Model")
TAGS = ("sagemaker:AddTags", "sagemaker:ListTags")
