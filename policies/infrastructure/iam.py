"""Policies over rights: wildcards in actions and resources, roles that anybody may take. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from policies.policy import OnResource, Policy, Resource, StackContext, levels
from policies.values import at, document, items, one_or_many

POLICY_TYPES = frozenset(
    {
        "aws:iam/policy:Policy",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:iam/userPolicy:UserPolicy",
        "aws:iam/groupPolicy:GroupPolicy",
        "aws:iam/role:Role",
    }
)
ROLE = "aws:iam/role:Role"
# Actions that know no resource, so that AWS itself asks for `*`. Source: Service Authorization Reference.
WITHOUT_RESOURCE = (
    "autoscaling:Describe*",
    "cloudwatch:GetMetric*",
    "cloudwatch:ListMetrics",
    "cloudwatch:PutMetricData",
    "ec2:Describe*",
    "ecr:GetAuthorizationToken",
    "iam:ListInstanceProfiles",
    "logs:DescribeLogGroups",
    "eks:ListClusters",
    "pricing:GetProducts",
    "route53:ListHostedZones*",
    "sagemaker:List*",
    "sts:GetCallerIdentity",
    "tag:GetResources",
    "xray:Put*",
)


def _statements(resource: Resource) -> Iterator[Mapping[str, Any]]:
    """Yield every Allow of the policies that a resource carries, inline ones of roles included."""
    documents = [resource.props.get("policy")]
    documents += [at(inline, "policy") for inline in items(resource.props.get("inlinePolicies"))]
    for text in documents:
        for statement in one_or_many(document(text).get("Statement")):
            if isinstance(statement, Mapping) and statement.get("Effect") == "Allow":
                yield statement


def star_actions(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find rights to do anything, or anything of one service."""
    for statement in _statements(resource):
        if "NotAction" in statement:
            yield "NotAction allows everything but a list"
        for action in one_or_many(statement.get("Action")):
            if isinstance(action, str) and (action == "*" or action.endswith(":*")):
                yield f"the action {action} allows more than anyone has reviewed"


def star_resources(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find rights on everything, except for actions that know no resource and for statements with a condition."""
    for statement in _statements(resource):
        actions = [str(action) for action in one_or_many(statement.get("Action"))]
        bound = [a for a in actions if not any(fnmatchcase(a, pattern) for pattern in WITHOUT_RESOURCE)]
        if "*" in one_or_many(statement.get("Resource")) and bound and not statement.get("Condition"):
            yield f"{', '.join(bound[:3])} on resource *: name the resources, or add a condition"


def trusted_by_all(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find roles that any account may take."""
    for statement in one_or_many(document(resource.props.get("assumeRolePolicy")).get("Statement")):
        principal = at(statement, "Principal")
        everyone = principal == "*" or (isinstance(principal, Mapping) and "*" in one_or_many(principal.get("AWS")))
        if at(statement, "Effect") == "Allow" and everyone:
            yield "every AWS account may take this role"


POLICIES = (
    Policy(
        "IAM-001", "No `*` in actions", "a right that nobody listed is a right that nobody reviewed",
        "list the actions that the code calls", OnResource(POLICY_TYPES, star_actions),
        levels(dev="warn", staging="deny", prod="deny"),
    ),
    Policy(
        "IAM-002", "No `*` in resources", "one leaked credential should open one door",
        "name the resources, or add a Condition", OnResource(POLICY_TYPES, star_resources),
        levels(dev="warn", staging="deny", prod="deny"),
    ),
    Policy(
        "IAM-003", "Roles name who may take them", "a role open to `*` belongs to whoever finds its name",
        "name a service or an account as Principal", OnResource(frozenset({ROLE}), trusted_by_all),
        levels(dev="deny", staging="deny", prod="deny"),
    ),
)  # fmt: skip
