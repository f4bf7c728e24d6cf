"""Who may use which encryption key: policies of keys whose users are not only roles of ours. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.iam import administered

USE_FOR_DISKS = (
    "kms:Encrypt",
    "kms:Decrypt",
    "kms:ReEncrypt*",
    "kms:GenerateDataKey*",
    "kms:CreateGrant",
    "kms:DescribeKey",
)


def disk_key_policy(account: str, region: str) -> str:
    """Return the policy of a key for disks: whoever may use EBS in this account uses it, through EC2 alone.

    Without it the service-linked role of EC2 Auto Scaling cannot start a single node with an encrypted disk: a key's
    default policy gives nothing to roles that no IAM policy of ours can be attached to.
    Source: AWS KMS, policy of the managed key `aws/ebs`; EC2 Auto Scaling, "Required KMS key policy for use with
    encrypted volumes".
    """
    through = {"StringEquals": {"kms:CallerAccount": account, "kms:ViaService": f"ec2.{region}.amazonaws.com"}}
    everyone: dict[str, Any] = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": list(USE_FOR_DISKS)}
    return administered(account, {**everyone, "Resource": "*", "Condition": through})


def topic_key_policy(account: str, publishers: Sequence[str]) -> str:
    """Return the policy of a key for topics: AWS's own alarms encrypt what they publish."""
    use = ["kms:Decrypt", "kms:GenerateDataKey*"]
    services = {"Effect": "Allow", "Principal": {"Service": list(publishers)}, "Action": use, "Resource": "*"}
    return administered(account, services)


def delivery_key_policy(account: str) -> str:
    """Return the policy of a key with which AWS's log delivery encrypts what it writes for this account.

    Source: Amazon VPC, "Required key policy for use with SSE-KMS".
    """
    ours = {"StringEquals": {"aws:SourceAccount": account}}
    use = [action for action in USE_FOR_DISKS if action != "kms:CreateGrant"]
    writer: dict[str, Any] = {"Effect": "Allow", "Principal": {"Service": "delivery.logs.amazonaws.com"}}
    return administered(account, {**writer, "Action": use, "Resource": "*", "Condition": ours})
