"""Policies over what would tell somebody: alerts of endpoints, alarms that reach a person, logs that last. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from environments.names import sagemaker_endpoint, sagemaker_role
from policies.policy import Hit, OnResource, OnStack, Policy, Resource, StackContext, levels
from policies.values import UNKNOWN, absent, at, number, unseen

LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
ROLE = "aws:iam/role:Role"
RULES = "kubernetes:monitoring.coreos.com/v1:PrometheusRule"
HELM_RELEASES = frozenset(
    {"kubernetes:helm.sh/v3:Release", "kubernetes:helm.sh/v3:Chart", "kubernetes:helm.sh/v4:Chart"}
)
PROD_RETENTION_DAYS = 90


def retention(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find logs that are kept for ever, or in production for less than a quarter of a year."""
    days = number(resource.props.get("retentionInDays"), 0)
    if days == 0:
        yield "retentionInDays is not set: the logs are kept, and paid for, for ever"
    elif days is not None and context.kind == "prod" and days < PROD_RETENTION_DAYS:
        yield f"logs are kept for {days:g} days, fewer than {PROD_RETENTION_DAYS}"


def silent_alarms(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find alarms that tell nobody."""
    if absent(resource.props.get("alarmActions")) and resource.props.get("actionsEnabled") is not False:
        yield "the alarm has no alarmActions: it turns red and nobody hears of it"


def endpoint_alerts(resources: Sequence[Resource], context: StackContext) -> Iterator[Hit]:
    """Find endpoints that could fail without an alert: PrometheusRules on clusters, CloudWatch alarms on SageMaker.

    Only a stack that makes rules, or Prometheus, can be asked for rules: clusters and slots are in other stacks.
    """
    found = [r for r in resources if r.type == RULES]
    rules = [_words(r) for r in found]
    monitors = any(r.type in HELM_RELEASES and "kube-prometheus" in str(r.props.get("chart")) for r in resources)
    if not any(map(unseen, found)) and (found or monitors):
        for endpoint, clusters in _on_clusters(context):
            named = sum(endpoint in words for words in rules)
            if named < clusters:
                yield "", f"endpoint {endpoint} runs in {clusters} clusters; {named} PrometheusRules name it"
    alarmed = [at(r.props, "dimensions.EndpointName") for r in resources if r.type == ALARM]
    for role, endpoint in _sagemaker(resources, context):
        if UNKNOWN not in alarmed and sagemaker_endpoint(context.spec.environment, endpoint) not in alarmed:
            yield role.urn, f"endpoint {endpoint} has no CloudWatch alarm"


def _on_clusters(context: StackContext) -> Iterator[tuple[str, int]]:
    """Yield endpoints with the number of clusters that they run in, more than 0."""
    spec = context.spec
    for endpoint in spec.endpoints:
        clusters = sum(spec.regions[region].platform == "kubernetes" for region in spec.regions_of(endpoint))
        if clusters:
            yield endpoint, clusters


def _words(rule: Resource) -> frozenset[str]:
    """Return the names that a PrometheusRule speaks of, in its labels or its expressions."""
    text = json.dumps(rule.props, default=str)
    return frozenset(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", text))


def _sagemaker(resources: Sequence[Resource], context: StackContext) -> Iterator[tuple[Resource, str]]:
    """Yield the execution roles of SageMaker endpoints with the endpoint's name."""
    spec = context.spec
    roles = {r.props.get("name"): r for r in resources if r.type == ROLE and isinstance(r.props.get("name"), str)}
    for endpoint in spec.endpoints:
        for region in spec.regions_of(endpoint):
            role = roles.get(sagemaker_role(spec.environment, region, endpoint))
            if role and spec.regions[region].platform == "sagemaker":
                yield role, endpoint


def pinned_charts(resource: Resource, context: StackContext) -> Iterator[str]:
    """Find Helm charts whose version is whatever is newest."""
    if absent(resource.props.get("version")):
        yield "the Helm chart names no version: the next `up` may install another one"


POLICIES = (
    Policy(
        "LOG-001", "Logs are kept long enough, and not for ever", "an incident is often found weeks later",
        "set retentionInDays", OnResource(frozenset({LOG_GROUP}), retention),
        levels(dev="info", staging="warn", prod="deny"),
    ),
    Policy(
        "MON-001", "Every endpoint has alerts", "users should not be the monitoring",
        "add rules for the endpoint to components.monitoring", OnStack(endpoint_alerts),
        levels(dev="info", staging="warn", prod="deny"),
    ),
    Policy(
        "MON-002", "Alarms reach somebody", "an alarm that tells nobody is a dashboard",
        "set alarmActions to the team's topic", OnResource(frozenset({ALARM}), silent_alarms),
        levels(dev="info", staging="warn", prod="deny"),
    ),
    Policy(
        "CHT-001", "Helm charts are pinned", "a chart that moves changes a cluster without a plan",
        "set the chart's version", OnResource(HELM_RELEASES, pinned_charts),
        levels(dev="deny", staging="deny", prod="deny"),
    ),
)  # fmt: skip
