"""Policies over keys and secrets: who can use a key that something needs, and where secrets must not stand. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from policies.policy import Hit, OnResource, OnStack, Policy, Resource, StackContext, levels
from policies.values import UNKNOWN, absent, at, document, items, labels, off, one_or_many

KEY, TEMPLATE = "aws:kms/key:Key", "aws:ec2/launchTemplate:LaunchTemplate"
TOPIC, ROLE_POLICY = "aws:sns/topic:Topic", "aws:iam/rolePolicy:RolePolicy"
QUEUE, STORE = "aws:sqs/queue:Queue", "aws:elasticache/replicationGroup:ReplicationGroup"
PARAMETERS = "aws:rds/parameterGroup:ParameterGroup"
SECRET, NAMESPACE = "kubernetes:core/v1:Secret", "kubernetes:core/v1:Namespace"
SECURITY_POLICY = "kubernetes:gateway.envoyproxy.io/v1alpha1:SecurityPolicy"
CLIENT_POLICY = "kubernetes:gateway.envoyproxy.io/v1alpha1:ClientTrafficPolicy"
ENFORCED = "pod-security.kubernetes.io/enforce"
BALANCER_SILENCE_S = 350


def disk_keys(resources: Sequence[Resource], context: StackContext) -> Iterator[Hit]:
    """Find launch templates whose disks are encrypted with a key that Auto Scaling may not use."""
    keys = {r.urn: r for r in resources if r.type == KEY}
    for template in (r for r in resources if r.type == TEMPLATE):
        for key in (keys[urn] for urn in sorted(template.depends_on & keys.keys())):
            policy = key.props.get("policy")
            if policy is not UNKNOWN and "kms:ViaService" not in json.dumps(policy or "", default=str):
                yield template.urn, f"{key.name} has no policy that lets EC2 Auto Scaling use it: no node ever starts"


def publishers(resources: Sequence[Resource], context: StackContext) -> Iterator[Hit]:
    """Find roles that may publish to encrypted topics and not use their key."""
    encrypted = any(r.type == TOPIC and not absent(r.props.get("kmsMasterKeyId")) for r in resources)
    for policy in (r for r in resources if r.type == ROLE_POLICY and encrypted):
        statements = [s for s in one_or_many(document(policy.props.get("policy")).get("Statement")) if s is not UNKNOWN]
        actions = {a for s in statements if isinstance(s, Mapping) for a in one_or_many(s.get("Action"))}
        if "sns:Publish" in actions and not any(str(a).startswith("kms:GenerateDataKey") for a in actions):
            yield policy.urn, "it may publish to an encrypted topic without its key: every message is lost"


def passed_roles(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find rights to hand roles to whichever service."""
    for statement in one_or_many(document(resource.props.get("policy")).get("Statement")):
        actions = one_or_many(at(statement, "Action"))
        if "iam:PassRole" in actions and "iam:PassedToService" not in json.dumps(
            at(statement, "Condition"), default=str
        ):
            yield "iam:PassRole without a condition on iam:PassedToService: the role can be given to any service"


def queue_encryption(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find queues that are not encrypted."""
    if off(resource.props.get("sqsManagedSseEnabled")) and absent(resource.props.get("kmsMasterKeyId")):
        yield "the queue is not encrypted"


def store_encryption(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find stores that speak or keep in the clear."""
    for switch in ("transitEncryptionEnabled", "atRestEncryptionEnabled"):
        if off(resource.props.get(switch)):
            yield f"{switch} is not true"


def database_tls(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find databases that take connections without TLS."""
    parameters = resource.props.get("parameters")
    forced = any(at(p, "name") == "rds.force_ssl" and str(at(p, "value")) == "1" for p in items(parameters))
    if str(resource.props.get("family", "")).startswith("postgres") and parameters is not UNKNOWN and not forced:
        yield "rds.force_ssl is not 1: passwords travel in the clear"


def secrets_in_state(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find Secrets whose values a program holds."""
    if not absent(resource.props.get("stringData")) or not absent(resource.props.get("data")):
        yield "the Secret's value stands in Pulumi's state: let External Secrets fetch it"


def enforced_level(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find namespaces that take any pod."""
    if at(resource.props, "metadata.labels") is not UNKNOWN and ENFORCED not in labels(resource):
        yield f"the namespace has no label {ENFORCED}: it takes pods that own their node"


def closed_by_default(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find policies of a gateway that let everybody in who is not named."""
    if at(resource.props, "spec.authorization.defaultAction") not in ("Deny", UNKNOWN):
        yield "authorization.defaultAction is not Deny: whoever is not named is let in"


def patient_connections(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find gateways whose silent streams the load balancer forgets."""
    idle = at(resource.props, "spec.tcpKeepalive.idleTime")
    seconds = int(idle[:-1]) if isinstance(idle, str) and idle[:-1].isdigit() and idle.endswith("s") else None
    if idle is not UNKNOWN and (seconds is None or seconds >= BALANCER_SILENCE_S):
        yield f"tcpKeepalive.idleTime is not below {BALANCER_SILENCE_S}s: the load balancer cuts a stream that thinks"


EVERYWHERE = levels(dev="warn", staging="deny", prod="deny")

POLICIES = (
    Policy(
        "ENC-004", "Keys of disks let machines start", "EC2 Auto Scaling needs the key for every node",
        "give the key a policy with kms:ViaService of EC2", OnStack(disk_keys),
        levels(dev="deny", staging="deny", prod="deny"),
    ),
    Policy(
        "ENC-005", "Publishers to an encrypted topic have its key", "an alert that cannot be encrypted is dropped",
        "allow kms:GenerateDataKey and kms:Decrypt on the topic's key", OnStack(publishers),
        levels(dev="deny", staging="deny", prod="deny"),
    ),
    Policy(
        "ENC-006", "Queues are encrypted", "events name machines and roles",
        "set sqsManagedSseEnabled", OnResource(frozenset({QUEUE}), queue_encryption), EVERYWHERE,
    ),
    Policy(
        "ENC-007", "Stores are encrypted", "counters name clients",
        "set transitEncryptionEnabled and atRestEncryptionEnabled", OnResource(frozenset({STORE}), store_encryption),
        EVERYWHERE,
    ),
    Policy(
        "IAM-004", "Roles are passed to one service", "a role for models would start machines",
        "add a condition on iam:PassedToService", OnResource(frozenset({ROLE_POLICY}), passed_roles), EVERYWHERE,
    ),
    Policy(
        "RDS-006", "Databases take TLS alone", "the store's address holds a password",
        "set rds.force_ssl to 1", OnResource(frozenset({PARAMETERS}), database_tls), EVERYWHERE,
    ),
    Policy(
        "SEC-001", "Secrets are fetched, not written", "whoever reads the state reads the password",
        "make an ExternalSecret", OnResource(frozenset({SECRET}), secrets_in_state),
        levels(dev="info", staging="warn", prod="deny"),
    ),
    Policy(
        "K8S-012", "Namespaces enforce a Pod Security level", "one privileged pod owns its node",
        f"label the namespace with {ENFORCED}", OnResource(frozenset({NAMESPACE}), enforced_level), EVERYWHERE,
    ),
    Policy(
        "GW-001", "The gateway lets in whom it knows", "a new network is let in by nobody's decision",
        "set authorization.defaultAction to Deny", OnResource(frozenset({SECURITY_POLICY}), closed_by_default),
        EVERYWHERE,
    ),
    Policy(
        "GW-002", "Silent streams stay open", "a model that thinks for six minutes would answer nobody",
        "set tcpKeepalive.idleTime below 350s", OnResource(frozenset({CLIENT_POLICY}), patient_connections),
        EVERYWHERE,
    ),
)  # fmt: skip
