"""Roles, policies and keys: whether they can be read, and whether whoever they name is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.support import iam_rules
from tests.support.pulumi_engine.aws_facts import ACCOUNT
from tests.support.pulumi_engine.aws_rules.rule import Asked, Rules

RULES = Rules()
ROLE, ROLE_POLICY = "aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy"
ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
KEY, QUEUE_POLICY = "aws:kms/key:Key", "aws:sqs/queuePolicy:QueuePolicy"
TOPIC_POLICY, BUCKET_POLICY = "aws:sns/topicPolicy:TopicPolicy", "aws:s3/bucketPolicy:BucketPolicy"
INLINE_CHARACTERS = 10240
_NAME = re.compile(r"[\w+=,.@-]{1,64}")
_ACTION = re.compile(r"[a-z0-9-]+:[A-Za-z0-9*?]+|\*")
# AWS's own policies that components may attach. Source: AWS managed policy reference.
MANAGED = frozenset(
    {
        "AmazonEC2ContainerRegistryPullOnly",
        "AmazonEKSClusterPolicy",
        "AmazonEKSWorkerNodePolicy",
        "AmazonEKS_CNI_Policy",
        "AmazonSSMManagedInstanceCore",
        "service-role/AmazonEBSCSIDriverPolicy",
        "service-role/AmazonEBSCSIDriverPolicyV2",
    }
)


def statements(text: str) -> list[dict[str, Any]] | None:
    """Return a policy's statements; None when it is no policy."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    inner = found.get("Statement") if isinstance(found, dict) else None
    return list(inner) if isinstance(inner, list) and inner else None


def principals(text: str) -> Iterator[str]:
    """Yield the AWS principals that a policy names."""
    for statement in statements(text) or []:
        named = statement.get("Principal")
        if isinstance(named, dict):
            listed = named.get("AWS", [])
            yield from listed if isinstance(listed, list) else [listed]


@RULES(ROLE, "IAM user guide, name requirements: 64 characters")
def role_name(asked: Asked) -> str | None:
    """Refuse a name that IAM does not take."""
    if not _NAME.fullmatch(asked.text("name")):
        return f"ValidationError: 1 validation error detected: Value '{asked.text('name')}' at 'roleName' failed"
    return None


@RULES(ROLE, "IAM API reference, CreateRole: MalformedPolicyDocument")
def trust_malformed(asked: Asked) -> str | None:
    """Refuse a trust policy that lets nobody in, or that names a resource."""
    found = statements(asked.text("assumeRolePolicy"))
    if found is None or not all("Principal" in s for s in found):
        return "MalformedPolicyDocument: Missing required field Principal"
    if any("Resource" in statement for statement in found):
        return "MalformedPolicyDocument: Has prohibited field Resource"
    return None


@RULES(ROLE_POLICY, "IAM API reference, PutRolePolicy: MalformedPolicyDocument")
def policy_malformed(asked: Asked) -> str | None:
    """Refuse a policy that IAM cannot read."""
    for statement in statements(asked.text("policy")) or [{}]:
        actions = statement.get("Action") or []
        if not actions or not statement.get("Resource"):
            return "MalformedPolicyDocument: Syntax errors in policy."
        for action in actions if isinstance(actions, list) else [actions]:
            if not _ACTION.fullmatch(action):
                return f"MalformedPolicyDocument: Actions/Conditions must be prefaced by a vendor: {action}"
    return None


@RULES(ROLE_POLICY, "IAM quotas: role inline policies, 10,240 characters together")
def policy_too_long(asked: Asked) -> str | None:
    """Refuse more text than a role's own policies may have."""
    mine = asked.text("policy")
    others = [str(o.inputs["policy"]) for o in asked.here(ROLE_POLICY) if o.inputs.get("role") == asked.text("role")]
    if sum(len(re.sub(r"\s", "", text)) for text in (mine, *others)) > INLINE_CHARACTERS:
        return f"LimitExceeded: Maximum policy size of {INLINE_CHARACTERS} bytes exceeded for role {asked.text('role')}"
    return None


@RULES(ROLE_POLICY, "IAM API reference, PutRolePolicy: NoSuchEntity")
def role_missing(asked: Asked) -> str | None:
    """Refuse rights for a role that is not there (yet)."""
    if asked.text("role") and asked.by_id(ROLE, asked.text("role")) is None:
        return f"NoSuchEntity: The role with name {asked.text('role')} cannot be found."
    return None


@RULES(ATTACHMENT, "AWS managed policy reference")
def managed_policy_unknown(asked: Asked) -> str | None:
    """Refuse a policy of AWS's own that does not exist."""
    name = asked.text("policyArn").removeprefix("arn:aws:iam::aws:policy/")
    if asked.text("policyArn").startswith("arn:aws:iam::aws:") and name not in MANAGED:
        return f"NoSuchEntity: Policy {asked.text('policyArn')} does not exist or is not attachable."
    return None


@RULES(KEY, "AWS KMS, default key policy: the new key policy must let the caller change it")
def key_locked_out(asked: Asked) -> str | None:
    """Refuse a key's policy after which nobody could change it."""
    policy = asked.text("policy")
    call = iam_rules.Call(f"arn:aws:iam::{ACCOUNT}:root", "kms:PutKeyPolicy", "*")
    if policy and not iam_rules.allows(policy, call):
        return "MalformedPolicyDocumentException: The new key policy will not allow you to update the key policy"
    return None


def _absent(asked: Asked) -> str | None:
    """Return a role of this account that a policy names and that is not there; IAM is not consistent at once."""
    roles = {role.outputs.get("arn") for role in asked.here(ROLE)}
    for arn in principals(asked.text("policy")):
        if arn.startswith(f"arn:aws:iam::{ACCOUNT}:role/") and "/aws-service-role/" not in arn and arn not in roles:
            return arn
    return None


@RULES(KEY, "AWS KMS, key policies: invalid principals")
def key_principal_absent(asked: Asked) -> str | None:
    """Refuse a key's policy that names a role which is not there."""
    if absent := _absent(asked):
        return f"MalformedPolicyDocumentException: a statement with one or more invalid principals: {absent}"
    return None


@RULES(BUCKET_POLICY, "Amazon S3 error responses: MalformedPolicy, invalid principal in policy")
def bucket_principal_absent(asked: Asked) -> str | None:
    """Refuse a bucket's policy that names a role which is not there."""
    return f"MalformedPolicy: Invalid principal in policy: {absent}" if (absent := _absent(asked)) else None


@RULES(TOPIC_POLICY, "Amazon SNS API reference, SetTopicAttributes: InvalidParameter")
def topic_principal_absent(asked: Asked) -> str | None:
    """Refuse a topic's policy that names a role which is not there."""
    return f"InvalidParameter: Policy Error: PrincipalNotFound {absent}" if (absent := _absent(asked)) else None


@RULES(QUEUE_POLICY, "Amazon SQS API reference, SetQueueAttributes: InvalidAttributeValue")
def queue_policy_malformed(asked: Asked) -> str | None:
    """Refuse a queue's policy that cannot be read."""
    if statements(asked.text("policy")) is None:
        return "InvalidAttributeValue: Invalid value for the parameter Policy."
    return None
