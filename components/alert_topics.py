"""Where alarms go: one encrypted SNS topic for each team in each region, with the team's address on it.

Budgets, Alertmanager and CloudWatch publish.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.iam import document
from components.keys import topic_key_policy
from components.tags import Owned
from environments.infrastructure import TeamSpec

PUBLISHERS = ("budgets.amazonaws.com", "cloudwatch.amazonaws.com", "costalerts.amazonaws.com")


@dataclass(frozen=True)
class AlertTopicsArgs:
    """The teams with an endpoint in the region, and the account whose services may publish."""

    teams: Mapping[str, TeamSpec]
    account: pulumi.Input[str]
    owned: Owned


class AlertTopics(pulumi.ComponentResource):
    """SNS topics by team. `arns` maps a team to its topic, `policies` to what lets AWS's alarms publish there.

    Costs a KMS key (1 USD a month). Protects by: encryption, publishing by this account's services alone, and an
    address that the team confirms by itself.
    """

    def __init__(self, name: str, args: AlertTopicsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:monitoring:AlertTopics", name, None, opts)
        self._own = pulumi.ResourceOptions(parent=self)
        account = pulumi.Output.from_input(args.account)
        self._key = aws.kms.Key(
            name,
            description="Alarms",
            enable_key_rotation=True,
            policy=account.apply(lambda number: topic_key_policy(number, PUBLISHERS)),
            tags=args.owned.tags(name),
            opts=self._own,
        )
        self.key_arn: pulumi.Output[str] = self._key.arn
        self.policies: dict[str, pulumi.Resource] = {}
        self.arns = {team: self._topic(f"{name}-{team}", team, args, account) for team in sorted(args.teams)}
        self.register_outputs({"arns": self.arns})

    def _topic(self, name: str, team: str, args: AlertTopicsArgs, account: pulumi.Output[str]) -> pulumi.Output[str]:
        topic = aws.sns.Topic(name, kms_master_key_id=self._key.id, tags=args.owned.by(team).tags(name), opts=self._own)
        self.policies[team] = aws.sns.TopicPolicy(
            name,
            arn=topic.arn,
            policy=pulumi.Output.all(topic.arn, account).apply(lambda found: topic_policy(*found)),
            opts=self._own,
        )
        if email := args.teams[team].alert_email:
            aws.sns.TopicSubscription(name, topic=topic.arn, protocol="email", endpoint=email, opts=self._own)
        return topic.arn


def topic_policy(topic_arn: str, account: str) -> str:
    """Return a topic's policy: AWS's own alarms may publish, for this account."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": list(PUBLISHERS)},
        "Action": "sns:Publish",
        "Resource": topic_arn,
        "Condition": {"StringEquals": {"aws:SourceAccount": account}},
    }
    return document([statement])
