"""A role that the pods of one ServiceAccount take, through EKS pod identity."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.children import children_of, waiting
from components.iam import assumed_by_pods
from components.tags import Owned


@dataclass(frozen=True)
class PodRoleArgs:
    """The cluster, the account in it, and what its pods may do."""

    eks_name: pulumi.Input[str]
    namespace: str
    service_account: str
    policy: pulumi.Input[str]
    owned: Owned


class PodRole(pulumi.ComponentResource):
    """An IAM role bound to a ServiceAccount, which need not exist yet.

    Costs nothing. Protects by: one policy, no keys in pods, and no other account that can take the role.
    """

    def __init__(self, name: str, args: PodRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cluster:PodRole", name, None, opts)
        own = children_of(self, opts)
        tags = args.owned.tags(name)
        role = aws.iam.Role(name, assume_role_policy=assumed_by_pods(), tags=tags, opts=own)
        rights = aws.iam.RolePolicy(name, role=role.id, policy=args.policy, opts=own)
        aws.eks.PodIdentityAssociation(
            name,
            cluster_name=args.eks_name,
            namespace=args.namespace,
            service_account=args.service_account,
            role_arn=role.arn,
            tags=args.owned.tags(),
            opts=waiting(own, rights),
        )
        self.arn: pulumi.Output[str] = role.arn
        self.register_outputs({"arn": self.arn})
