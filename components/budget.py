"""What a team may spend: an AWS budget, and an alarm for costs that do not look like its own past.

Imports `environments.infrastructure`. `stacks/platform` makes one for each team that declares a budget.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.tags import Owned
from environments.infrastructure import TeamSpec

ACTUAL_PCT, FORECAST_PCT = (80.0, 100.0), 100.0


@dataclass(frozen=True)
class BudgetArgs:
    """The team's limits, and the topic that its alarms go to."""

    team: TeamSpec
    topic_arn: pulumi.Input[str]
    owned: Owned


class Budget(pulumi.ComponentResource):
    """A monthly budget over everything with the team's and the environment's tags, and an anomaly monitor.

    Costs nothing for the first two budgets of an account, then 0.02 USD a day each. Protects by: mails at 80 and
    100 % of the budget, at a forecast above it, and for an anomaly larger than the team's threshold. It never stops
    anything: a serving endpoint is worth more than a budget line.
    """

    def __init__(self, name: str, args: BudgetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cost:Budget", name, None, opts)
        self._own = pulumi.ResourceOptions(parent=self)
        tags = args.owned.tags(name)
        if args.team.budget_usd_per_month is not None:
            self._budget(name, args, args.team.budget_usd_per_month)
        monitor = aws.costexplorer.AnomalyMonitor(
            name,
            name=name,
            monitor_type="CUSTOM",
            monitor_specification=tagged(args.owned),
            tags=tags,
            opts=self._own,
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
                    "values": [f"{args.team.anomaly_usd:g}"],
                }
            },
            tags=tags,
            opts=self._own,
        )
        self.register_outputs({"monitor_arn": monitor.arn})

    def _budget(self, name: str, args: BudgetArgs, usd: float) -> None:
        thresholds = [("ACTUAL", pct) for pct in ACTUAL_PCT] + [("FORECASTED", FORECAST_PCT)]
        aws.budgets.Budget(
            name,
            name=name,
            budget_type="COST",
            limit_amount=f"{usd:g}",
            limit_unit="USD",
            time_unit="MONTHLY",
            metrics="UnblendedCost",
            filter_expression=aws.budgets.BudgetFilterExpressionArgs(
                ands=[
                    aws.budgets.BudgetFilterExpressionAndArgs(
                        tags=aws.budgets.BudgetFilterExpressionAndTagsArgs(key=key, values=[value])
                    )
                    for key, value in (("environment", args.owned.environment), ("team", args.owned.team))
                ]
            ),
            notifications=[
                aws.budgets.BudgetNotificationArgs(
                    comparison_operator="GREATER_THAN",
                    notification_type=kind,
                    threshold=pct,
                    threshold_type="PERCENTAGE",
                    subscriber_sns_topic_arns=[args.topic_arn],
                )
                for kind, pct in thresholds
            ],
            tags=args.owned.tags(name),
            opts=self._own,
        )


def tagged(owned: Owned) -> str:
    """Return a cost expression: everything with the tags of this environment and this team."""
    pairs = {"environment": owned.environment, "team": owned.team}
    return json.dumps({"And": [{"Tags": {"Key": f"user:{k}", "Values": [v]}} for k, v in pairs.items()]})
