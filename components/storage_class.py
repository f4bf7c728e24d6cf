"""The disks that pods claim: gp3, encrypted with the cluster's key. Claims name it; EKS has no default class."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.storage.v1 import StorageClass as Class

from components.objects import meta
from components.tags import Owned
from environments.names import STORAGE_CLASS


@dataclass(frozen=True)
class StorageClassArgs:
    """The key of the disks."""

    key_arn: pulumi.Input[str]
    owned: Owned


class StorageClass(pulumi.ComponentResource):
    """A StorageClass of the EBS driver.

    Costs 0.08 USD a GB and month of what is claimed. Protects by: encryption, and disks made in the zone where their
    pod runs.
    """

    def __init__(self, name: str, args: StorageClassArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cluster:StorageClass", name, None, opts)
        self.made = Class(
            name,
            metadata=meta(STORAGE_CLASS, args.owned),
            provisioner="ebs.csi.aws.com",
            parameters={"type": "gp3", "encrypted": "true", "kmsKeyId": args.key_arn},
            volume_binding_mode="WaitForFirstConsumer",
            allow_volume_expansion=True,
            reclaim_policy="Delete",
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"name": STORAGE_CLASS})
