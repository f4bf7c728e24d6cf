"""An alarm for costs that do not look like their own past."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.children import children_of
from components.tags import Owned


@dataclass(frozen=True)
class AnomalyArgs:
    """Where alarms go and from how many USD. `expression` narrows it by tags; None watches each AWS service."""

    topic_arn: pulumi.Input[str]
    threshold_usd: float
    owned: Owned
    expression: str | None = None


class Anomalies(pulumi.ComponentResource):
    """A cost anomaly monitor and its subscription.

    Costs nothing. An expression needs the management account of an organization; without one there may be one monitor
    in an account, so that one environment alone asks for it. Source: AWS, "Getting started with Cost Anomaly
    Detection", monitor types. Made after the policies of its topic: AWS tries to publish when it is made.
    """

    def __init__(self, name: str, args: AnomalyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cost:Anomalies", name, None, opts)
        own, tags = children_of(self, opts), args.owned.tags(name)
        monitor = aws.costexplorer.AnomalyMonitor(
            name,
            name=name,
            monitor_type="CUSTOM" if args.expression else "DIMENSIONAL",
            monitor_dimension=None if args.expression else "SERVICE",
            monitor_specification=args.expression,
            tags=tags,
            opts=own,
        )
        aws.costexplorer.AnomalySubscription(
            name,
            name=name,
            frequency="IMMEDIATE",
            monitor_arn_lists=[monitor.arn],
            subscribers=[{"type": "SNS", "address": args.topic_arn}],
            threshold_expression={
                "dimension": {
                    "key": "ANOMALY_TOTAL_IMPACT_ABSOLUTE",
                    "match_options": ["GREATER_THAN_OR_EQUAL"],
                    "values": [f"{args.threshold_usd:g}"],
                }
            },
            tags=tags,
            opts=own,
        )
        self.register_outputs({"monitor_arn": monitor.arn})
