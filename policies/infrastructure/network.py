"""Policies over what can be reached from where: public doors, load balancers, network policies, flow logs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from environments.names import SLOT_LABEL
from policies.policy import Hit, OnResource, OnStack, Policy, Resource, StackContext, levels
from policies.values import UNKNOWN, absent, at, items, labels, namespace

WORLD = ("0.0.0.0/0", "::/0")
SECURITY_GROUP = "aws:ec2/securityGroup:SecurityGroup"
SECURITY_GROUP_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
INGRESS_RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
AWS_BALANCERS = frozenset({"aws:lb/loadBalancer:LoadBalancer", "aws:alb/loadBalancer:LoadBalancer"})
SERVICE = "kubernetes:core/v1:Service"
ENVOY_PROXY = "kubernetes:gateway.envoyproxy.io/v1alpha1:EnvoyProxy"
GATEWAY = "kubernetes:gateway.networking.k8s.io/v1:Gateway"
NETWORK_POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
INGRESS = "kubernetes:networking.k8s.io/v1:Ingress"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
SUBNET = "aws:ec2/subnet:Subnet"
LAUNCH_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
INGRESS_SCHEME = "alb.ingress.kubernetes.io/scheme"
SCHEME = "service.beta.kubernetes.io/aws-load-balancer-scheme"


def open_to_the_world(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find security groups that let everyone in."""
    props = resource.props
    rules = items(props.get("ingress")) if resource.type == SECURITY_GROUP else [props]
    if resource.type == SECURITY_GROUP_RULE and props.get("type") == "egress":
        return
    for rule in rules:
        ranges = [*items(at(rule, "cidrBlocks")), *items(at(rule, "ipv6CidrBlocks"))]
        ranges += [at(rule, key) for key in ("cidrIpv4", "cidrIpv6")]
        for cidr in (c for c in ranges if c in WORLD):
            yield f"ports {at(rule, 'fromPort')} to {at(rule, 'toPort')} are open to {cidr}"


def public_balancer(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find load balancers that face the internet without a list of who may come."""
    if resource.type in AWS_BALANCERS:
        if resource.props.get("internal") in (None, False):
            yield "the load balancer faces the internet: `internal` is not true"
    elif resource.type == INGRESS:
        annotations = at(resource.props, "metadata.annotations")
        if isinstance(annotations, Mapping) and annotations.get(INGRESS_SCHEME) == "internet-facing":
            yield "the Ingress is internet-facing; clients come through the Gateway, which has limits and TLS"
    elif resource.type == ENVOY_PROXY:
        service = at(resource.props, "spec.provider.kubernetes.envoyService")
        yield from _public_service(service, at(service, "annotations"))
    else:
        yield from _public_service(at(resource.props, "spec"), at(resource.props, "metadata.annotations"))


def _public_service(spec: Any, annotations: Any) -> Iterator[str]:
    known = annotations if isinstance(annotations, Mapping) else {}
    if at(spec, "type") != "LoadBalancer" or annotations is UNKNOWN or known.get(SCHEME) == "internal":
        return
    if absent(at(spec, "loadBalancerSourceRanges")):
        yield "the load balancer faces the internet and has no loadBalancerSourceRanges"
    for cidr in (c for c in items(at(spec, "loadBalancerSourceRanges")) if c in WORLD):
        yield f"the load balancer faces the internet and lets in {cidr}"


def public_addresses(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find machines that get an address on the internet."""
    if resource.type == SUBNET and resource.props.get("mapPublicIpOnLaunch") is True:
        yield "machines in this subnet get public addresses: mapPublicIpOnLaunch is true"
    for interface in items(resource.props.get("networkInterfaces")):
        if at(interface, "associatePublicIpAddress") in (True, "true"):
            yield "machines get public addresses: associatePublicIpAddress is true"


def plain_http(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find listeners for clients that speak without TLS."""
    for listener in items(at(resource.props, "spec.listeners")):
        if at(listener, "protocol") == "HTTP":
            yield f"listener {at(listener, 'name')} speaks HTTP: prompts and answers travel in the clear"


def network_policies(resources: Sequence[Resource], context: StackContext) -> Iterator[Hit]:
    """Find namespaces with pods of ours in which every pod may talk to every other."""
    guarded = [namespace(r) for r in resources if r.type == NETWORK_POLICY]
    if UNKNOWN in guarded:
        return
    for resource in resources:
        place = namespace(resource)
        if _serves(resource) and place is not UNKNOWN and place not in guarded:
            what = f"namespace {place or 'default'} has no NetworkPolicy: any pod of the cluster may call this one"
            yield resource.urn, what


def _serves(resource: Resource) -> bool:
    """Return whether pods of ours stand behind a resource: a Deployment, or a slot's Service."""
    return resource.type == DEPLOYMENT or (resource.type == SERVICE and SLOT_LABEL in labels(resource))


def flow_logs(resources: Sequence[Resource], context: StackContext) -> Iterator[Hit]:
    """Find networks whose traffic nobody could reconstruct."""
    logs = [r for r in resources if r.type == "aws:ec2/flowLog:FlowLog"]
    for vpc in (r for r in resources if r.type == "aws:ec2/vpc:Vpc"):
        if not any(vpc.urn in log.depends_on or log.props.get("vpcId") == vpc.name for log in logs):
            yield vpc.urn, "the VPC has no flow log"


DOORS = frozenset({SECURITY_GROUP, SECURITY_GROUP_RULE, INGRESS_RULE})
BALANCERS = AWS_BALANCERS | {SERVICE, ENVOY_PROXY, INGRESS}

POLICIES = (
    Policy(
        "NET-001", "No security group is open to the world", "a model server serves whoever reaches it",
        "name the clients' ranges or security groups", OnResource(DOORS, open_to_the_world),
        levels(dev="warn", staging="deny", prod="deny"),
    ),
    Policy(
        "NET-002", "Load balancers name their clients", "a gateway on the internet is scanned at once",
        "annotate the Service as internal, or set loadBalancerSourceRanges", OnResource(BALANCERS, public_balancer),
        levels(dev="warn", staging="deny", prod="deny"),
    ),
    Policy(
        "NET-003", "Namespaces have a NetworkPolicy", "one broken pod could call every model",
        "add a NetworkPolicy that lets in the gateway and Prometheus", OnStack(network_policies),
        levels(dev="warn", staging="deny", prod="deny"),
    ),
    Policy(
        "NET-004", "Machines have no public address", "what has no address cannot be attacked from outside",
        "use private subnets and a NAT gateway", OnResource(frozenset({SUBNET, LAUNCH_TEMPLATE}), public_addresses),
        levels(dev="warn", staging="deny", prod="deny"),
    ),
    Policy(
        "NET-005", "Networks keep flow logs", "after an incident they are all there is to read",
        "add an aws.ec2.FlowLog for the VPC", OnStack(flow_logs),
        levels(dev="info", staging="warn", prod="deny"),
    ),
    Policy(
        "NET-006", "Clients' listeners speak TLS", "prompts hold what customers typed",
        "set infrastructure.domain: the Gateway then has TLS", OnResource(frozenset({GATEWAY}), plain_http),
        levels(dev="info", staging="warn", prod="deny"),
    ),
)  # fmt: skip
