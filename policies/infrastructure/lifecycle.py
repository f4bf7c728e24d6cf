"""Policies over versions and order: what is supported, who is let in, what must be there before. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from environments.aws_facts import READ_ON, support_ends
from policies.policy import Hit, OnResource, OnStack, Policy, Resource, StackContext, levels
from policies.values import UNKNOWN, absent, at, items

CLUSTER, NODE_GROUP = "aws:eks/cluster:Cluster", "aws:eks/nodeGroup:NodeGroup"
ADDON, NAT = "aws:eks/addon:Addon", "aws:ec2/natGateway:NatGateway"
GATEWAY, SUBNET = "aws:ec2/internetGateway:InternetGateway", "aws:ec2/subnet:Subnet"
MONITOR = "aws:costexplorer/anomalyMonitor:AnomalyMonitor"
RELEASE = "kubernetes:helm.sh/v3:Release"
CLAIM, STATEFUL = "kubernetes:core/v1:PersistentVolumeClaim", "kubernetes:apps/v1:StatefulSet"
CLAIMING = frozenset({CLAIM, STATEFUL, RELEASE})
MONITORS_CHART = "kube-prometheus-stack"
NOTICE = timedelta(days=90)


def supported_version(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find clusters whose standard support ends soon, by the dated table of `environments.aws_facts`."""
    version = resource.props.get("version")
    ends = support_ends(version) if isinstance(version, str) else None
    if absent(version):
        yield "the cluster names no version: EKS chooses one, and moves it"
    elif ends is not None and ends < READ_ON + NOTICE:
        yield f"standard support of {version} ends on {ends}: after it a cluster costs 438 in place of 73 USD a month"


def extended_support(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find clusters that slide into paid support."""
    if at(resource.props, "upgradePolicy.supportType") not in ("STANDARD", UNKNOWN):
        yield "upgradePolicy.supportType is not STANDARD: an old version is paid for six times over"


def creators_entry(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find clusters that let their maker in by an entry that no program can declare again."""
    if at(resource.props, "accessConfig.bootstrapClusterCreatorAdminPermissions") not in (False, UNKNOWN):
        yield "EKS makes an entry for the creator by itself: the same role among the administrators is refused with 409"


def pinned_addon(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find add-ons that stay at the version of the day they were made."""
    if absent(resource.props.get("addonVersion")):
        yield f"the add-on {resource.props.get('addonName')} has no addonVersion: no later `up` brings it up to date"


def patched_nodes(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find machines that keep the image of the day they were made."""
    if absent(resource.props.get("releaseVersion")):
        yield "the node group has no releaseVersion: its machines are never patched"


def nodes_after_network(resources: Sequence[Resource], context: StackContext) -> Iterator[Hit]:
    """Find node groups that may start, or outlive, a cluster without its network add-on."""
    networks = {r.urn for r in resources if r.type == ADDON and r.props.get("addonName") == "vpc-cni"}
    for group in (r for r in resources if r.type == NODE_GROUP):
        if networks and not networks & group.depends_on:
            yield (
                group.urn,
                "the node group does not depend on vpc-cni: destroyed in the wrong order it leaves interfaces",
            )


def nat_after_gateway(resources: Sequence[Resource], context: StackContext) -> Iterator[Hit]:
    """Find NAT gateways that may be made before their network has a way out."""
    gateways = {r.urn for r in resources if r.type == GATEWAY}
    for nat in (r for r in resources if r.type == NAT):
        if nat.props.get("connectivityType") != "private" and not gateways & nat.depends_on:
            yield nat.urn, "the NAT gateway does not depend on an Internet gateway: AWS refuses it when it comes first"


def zones_by_id(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find subnets in a zone by its letter, which is another zone in each account."""
    if not absent(resource.props.get("availabilityZone")) and absent(resource.props.get("availabilityZoneId")):
        yield "the subnet names its zone by letter: which machines it can hold differs from account to account"


def tag_monitor(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find anomaly monitors that AWS makes in a management account alone."""
    if resource.props.get("monitorType") == "CUSTOM":
        yield "a CUSTOM monitor is refused in a member account of an organization"


def claims_with_class(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find claims of disks that no class fulfils: EKS has no default one since 1.30."""
    for claim in _claims(resource.props):
        if absent(claim.get("storageClassName")):
            yield "a claim names no storageClassName: it stays pending for good, and with it its pod"


def _claims(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the specifications of claims, wherever they stand."""
    if isinstance(value, Mapping):
        if "accessModes" in value:
            yield value
        for inner in value.values():
            yield from _claims(inner)
    elif isinstance(value, list | tuple):
        for inner in items(value):
            yield from _claims(inner)


def monitors_after_their_kind(resources: Sequence[Resource], context: StackContext) -> Iterator[Hit]:
    """Find charts with monitors that do not wait for the chart that brings the kind."""
    known = {r.urn for r in resources if r.type == RELEASE and MONITORS_CHART in str(r.props.get("chart"))}
    for chart in (r for r in resources if r.type == RELEASE and r.urn not in known):
        if _monitors(chart.props.get("values")) and not known & chart.depends_on:
            yield (
                chart.urn,
                f"the chart makes a ServiceMonitor and does not depend on {MONITORS_CHART}, which brings the kind",
            )


def _monitors(value: Any) -> bool:
    """Return whether values switch a ServiceMonitor on, wherever they say so."""
    if not isinstance(value, Mapping):
        return False
    here = at(value.get("serviceMonitor"), "enabled") is True
    return here or any(_monitors(inner) for inner in value.values())


EKS = frozenset({CLUSTER})

POLICIES = (
    Policy(
        "EKS-005", "Clusters run a version in standard support", "an unpatched API server is everybody's door",
        "raise infrastructure.kubernetes_version; docs/upgrade.md has the order", OnResource(EKS, supported_version),
        levels(dev="warn", staging="deny", prod="deny"),
    ),
    Policy(
        "EKS-006", "Clusters leave a version in time", "extended support costs 365 USD a month and cluster more",
        "set upgradePolicy.supportType to STANDARD", OnResource(EKS, extended_support),
        levels(dev="warn", staging="warn", prod="deny"),
    ),
    Policy(
        "EKS-007", "Entries of clusters are declared", "an entry that EKS makes cannot be changed or declared again",
        "set bootstrapClusterCreatorAdminPermissions to false", OnResource(EKS, creators_entry),
        levels(dev="deny", staging="deny", prod="deny"),
    ),
    Policy(
        "EKS-008", "Add-ons have a version", "an add-on older than its cluster breaks in the middle of an upgrade",
        "set addonVersion", OnResource(frozenset({ADDON}), pinned_addon),
        levels(dev="warn", staging="warn", prod="deny"),
    ),
    Policy(
        "EKS-009", "Machines are patched", "the kernel of last year has the holes of this one",
        "set releaseVersion", OnResource(frozenset({NODE_GROUP}), patched_nodes),
        levels(dev="warn", staging="warn", prod="deny"),
    ),
    Policy(
        "EKS-010", "Nodes come after the network and go before it", "interfaces that nobody frees keep a VPC for good",
        "let the node group depend on vpc-cni", OnStack(nodes_after_network),
        levels(dev="deny", staging="deny", prod="deny"),
    ),
    Policy(
        "NET-007", "NAT comes after the Internet gateway", "`up` fails at random, and passes the second time",
        "let the NAT gateway depend on the Internet gateway", OnStack(nat_after_gateway),
        levels(dev="deny", staging="deny", prod="deny"),
    ),
    Policy(
        "NET-008", "Zones are named by their ids", "the same file gives another network in another account",
        "set availabilityZoneId", OnResource(frozenset({SUBNET}), zones_by_id),
        levels(dev="warn", staging="warn", prod="deny"),
    ),
    Policy(
        "BUD-001", "Anomaly monitors by tag are the management account's", "the last of 300 resources fails the `up`",
        "set infrastructure.cost_anomalies to services or off", OnResource(frozenset({MONITOR}), tag_monitor),
        levels(dev="warn", staging="warn", prod="deny"),
    ),
    Policy(
        "K8S-011", "Claims of disks name a class", "EKS makes no default class since 1.30",
        "set storageClassName", OnResource(CLAIMING, claims_with_class),
        levels(dev="deny", staging="deny", prod="deny"),
    ),
    Policy(
        "CHT-002", "Monitors come after their kind", "the chart fails with `no matches for kind`",
        "let the chart depend on kube-prometheus-stack", OnStack(monitors_after_their_kind),
        levels(dev="deny", staging="deny", prod="deny"),
    ),
)  # fmt: skip
