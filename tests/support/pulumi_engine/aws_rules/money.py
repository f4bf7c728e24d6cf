"""Budgets, cost anomalies and the topics that they publish to."""

from __future__ import annotations

from tests.support.pulumi_engine.aws_rules.rule import Asked, Rules

RULES = Rules()
MONITOR = "aws:costexplorer/anomalyMonitor:AnomalyMonitor"
SUBSCRIPTION = "aws:costexplorer/anomalySubscription:AnomalySubscription"
BUDGET, TOPIC_POLICY = "aws:budgets/budget:Budget", "aws:sns/topicPolicy:TopicPolicy"
NOTIFICATIONS, SUBSCRIBERS = 10, 11


@RULES(MONITOR, "AWS Cost Anomaly Detection, monitor types: by tag in the management account alone")
def monitor_in_member(asked: Asked) -> str | None:
    """Refuse a monitor by tag: the account of the tests is a member of an organization."""
    if asked.text("monitorType") == "CUSTOM" and "Tags" in asked.text("monitorSpecification"):
        return "ValidationException: Linked account can only create AWS services monitors"
    return None


@RULES(MONITOR, "AWS Cost Anomaly Detection, quotas: one AWS services monitor an account")
def second_services_monitor(asked: Asked) -> str | None:
    """Refuse a second monitor of services."""
    if asked.text("monitorType") == "DIMENSIONAL" and any(
        m.inputs.get("monitorType") == "DIMENSIONAL" for m in asked.cloud.resources(MONITOR)
    ):
        return "LimitExceededException: Limit exceeded on dimensional spend monitor creation"
    return None


@RULES(SUBSCRIPTION, "AWS Cost Anomaly Detection, SNS topics: the topic's policy lets costalerts publish")
def topic_closed_to_alerts(asked: Asked) -> str | None:
    """Refuse a topic that the service cannot publish to when the subscription is made."""
    policies = {p.inputs.get("arn"): str(p.inputs.get("policy")) for p in asked.cloud.resources(TOPIC_POLICY)}
    for subscriber in asked.inputs.get("subscribers") or []:
        topic = subscriber.get("address")
        if subscriber.get("type") == "SNS" and "costalerts.amazonaws.com" not in policies.get(topic, ""):
            return f"ValidationException: Cost Explorer cannot publish to the topic {topic}"
    return None


@RULES(SUBSCRIPTION, "Cost Explorer API reference, AnomalySubscription: IMMEDIATE goes to SNS alone")
def immediate_by_mail(asked: Asked) -> str | None:
    """Refuse mails at once: those are daily or weekly."""
    kinds = {subscriber.get("type") for subscriber in asked.inputs.get("subscribers") or []}
    if asked.text("frequency") == "IMMEDIATE" and kinds != {"SNS"}:
        return "ValidationException: Immediate frequency only supports SNS subscribers"
    return None


@RULES(BUDGET, "AWS Budgets quotas: ten notifications a budget, one topic a notification")
def too_many_notices(asked: Asked) -> str | None:
    """Refuse more notices than a budget has, or two topics for one."""
    notices = asked.inputs.get("notifications") or []
    if len(notices) > NOTIFICATIONS or any(len(n.get("subscriberSnsTopicArns") or []) > 1 for n in notices):
        return "CreationLimitExceededException: Notification exceeds the limit"
    return None
