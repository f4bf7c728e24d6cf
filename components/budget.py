"""What a team may spend: an AWS budget, and where the account allows it an alarm for unusual costs."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.anomalies import Anomalies, AnomalyArgs
from components.children import children_of
from components.tags import Owned
from environments.infrastructure import TeamSpec

ACTUAL_PCT, FORECAST_PCT = (80.0, 100.0), 100.0


@dataclass(frozen=True)
class BudgetArgs:
    """The team's limits, and the topic that its alarms go to."""

    team: TeamSpec
    topic_arn: pulumi.Input[str]
    owned: Owned
    anomalies_by_tag: bool = False


class Budget(pulumi.ComponentResource):
    """A monthly budget over everything with the team's and the environment's tags.

    Costs nothing for the first two budgets of an account, then 0.02 USD a day each. Protects by: mails at 80 and
    100 % of the budget and at a forecast above it; with `anomalies_by_tag` also for costs that do not look like the
    team's own past, which AWS offers to the management account of an organization alone. It never stops anything: a
    serving endpoint is worth more than a budget line.
    """

    def __init__(self, name: str, args: BudgetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:cost:Budget", name, None, opts)
        self._own = children_of(self, opts)
        if args.team.budget_usd_per_month is not None:
            self._budget(name, args, args.team.budget_usd_per_month)
        if args.anomalies_by_tag:
            monitor = AnomalyArgs(args.topic_arn, args.team.anomaly_usd, args.owned, tagged(args.owned))
            Anomalies(name, monitor, self._own)
        self.register_outputs({})

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
