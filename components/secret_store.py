"""Secrets of AWS Secrets Manager as Secrets of a cluster: one store, and one object for each that a namespace needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components.children import children_of
from components.objects import custom, meta
from components.tags import Owned
from environments.names import ENVIRONMENT_LABEL

API = "external-secrets.io/v1"
STORE = "aws"


@dataclass(frozen=True)
class SecretStoreArgs:
    """Where the secrets are."""

    region: str
    owned: Owned


class SecretStore(pulumi.ComponentResource):
    """A ClusterSecretStore that reads with External Secrets' own role.

    Costs an API call for each secret every five minutes. Protects by: namespaces of this environment alone may use it.
    """

    def __init__(self, name: str, args: SecretStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cluster:SecretStore", name, None, opts)
        ours = {"namespaceSelector": {"matchLabels": {ENVIRONMENT_LABEL: args.owned.environment}}}
        self.made = custom(
            name,
            API,
            "ClusterSecretStore",
            metadata=meta(STORE, args.owned),
            spec={
                "provider": {"aws": {"service": "SecretsManager", "region": args.region}},
                "conditions": [ours],
            },
            opts=children_of(self, opts),
        )
        self.register_outputs({"name": STORE})


@dataclass(frozen=True)
class Wanted:
    """A Secret that a namespace needs: its name there, and each key with the secret in AWS that holds its value.

    `whole` names a secret in AWS that is a JSON object: every key of it becomes one of the Secret.
    """

    name: str
    keys: Mapping[str, str]
    whole: str | None = None
    fixed: Mapping[str, str] | None = None


def external_secret(
    resource: str, wanted: Wanted, owned: Owned, *, namespace: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    """Return the object that keeps a Secret equal to what AWS has; the Secret goes with it."""
    return custom(
        resource,
        API,
        "ExternalSecret",
        metadata=meta(wanted.name, owned, namespace=namespace),
        spec=external_secret_spec(wanted),
        opts=opts,
    )


def external_secret_spec(wanted: Wanted) -> dict[str, Any]:
    """Return an ExternalSecret's specification."""
    target: dict[str, Any] = {"name": wanted.name, "creationPolicy": "Owner"}
    if wanted.fixed:
        target["template"] = {"mergePolicy": "Merge", "data": dict(wanted.fixed)}
    spec: dict[str, Any] = {
        "refreshInterval": "5m",
        "secretStoreRef": {"kind": "ClusterSecretStore", "name": STORE},
        "target": target,
    }
    if wanted.keys:
        spec["data"] = [{"secretKey": key, "remoteRef": {"key": there}} for key, there in wanted.keys.items()]
    if wanted.whole:
        spec["dataFrom"] = [{"extract": {"key": wanted.whole}}]
    return spec
