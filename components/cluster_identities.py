"""Which ServiceAccount of a cluster may do what in AWS, apart from Karpenter's and the endpoints'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.pod_role import PodRole, PodRoleArgs
from components.rights import Place, alerting_policy, certificate_policy, dns_policy, secrets_policy
from components.tags import Owned
from environments.names import MONITORING_NAMESPACE, secret_prefix

ALERTMANAGER = (MONITORING_NAMESPACE, "alertmanager")
CERT_MANAGER = ("cert-manager", "cert-manager")
EXTERNAL_DNS = ("external-dns", "external-dns")
EXTERNAL_SECRETS = ("external-secrets", "external-secrets")


@dataclass(frozen=True)
class ClusterIdentitiesArgs:
    """The cluster, the zones its records are in, the topics its alerts go to, and the keys of its secrets.

    `hosted_zone_id` is the public zone, None without a domain; `private_zone_id` is None with a single cluster.
    """

    region: str
    cluster_name: str
    account: pulumi.Input[str]
    eks_name: pulumi.Input[str]
    hosted_zone_id: str | None
    private_zone_id: pulumi.Input[str] | None
    topic_arns: Sequence[pulumi.Input[str]]
    topic_key_arn: pulumi.Input[str]
    secret_key_arns: Sequence[pulumi.Input[str]]
    owned: Owned


class ClusterIdentities(pulumi.ComponentResource):
    """Roles for certificates, DNS, alerts and secrets, in force before the first of their pods starts.

    Costs nothing. Protects by: one small policy for each, named after what it may change.
    """

    def __init__(self, name: str, args: ClusterIdentitiesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cluster:ClusterIdentities", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        topics = pulumi.Output.all(args.topic_key_arn, *args.topic_arns)
        self._role(ALERTMANAGER, topics.apply(lambda found: alerting_policy(found[1:], found[0])))
        if args.hosted_zone_id:
            self._role(CERT_MANAGER, certificate_policy(args.hosted_zone_id))
        zones = [zone for zone in (args.hosted_zone_id, args.private_zone_id) if zone is not None]
        if zones:
            self._role(EXTERNAL_DNS, pulumi.Output.all(*zones).apply(dns_policy))
        self._role(EXTERNAL_SECRETS, self._secrets())
        self.register_outputs({})

    def _secrets(self) -> pulumi.Output[str]:
        args = self._args
        found = pulumi.Output.all(args.account, *args.secret_key_arns)
        prefix = secret_prefix(args.owned.environment)
        return found.apply(lambda f: secrets_policy(Place(args.region, f[0], args.cluster_name), prefix, f[1:]))

    def _role(self, account: tuple[str, str], rights: pulumi.Input[str]) -> None:
        args = PodRoleArgs(self._args.eks_name, account[0], account[1], rights, self._args.owned)
        PodRole(f"{self._name}-{account[1]}", args, self._own)
