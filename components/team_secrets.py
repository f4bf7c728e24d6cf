"""Secrets that people put into AWS Secrets Manager: API keys of each team, a token for gated models, sign-on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.tags import Owned
from environments.names import secret_name

API_KEYS, GATED_MODELS, SINGLE_SIGN_ON, GRAFANA = "api-keys", "hugging-face", "single-sign-on", "grafana"


@dataclass(frozen=True)
class TeamSecretsArgs:
    """The teams with keys of their own, and which of the shared secrets the environment uses."""

    teams: Sequence[str]
    shared: Sequence[str]
    replicas: Sequence[str]
    deletion_protection: bool
    owned: Owned


class TeamSecrets(pulumi.ComponentResource):
    """Places for secrets, which `aws secretsmanager put-secret-value` fills; Grafana's password alone is drawn.

    Costs 0.40 USD a month each, in each region. Protects by: values that no file, plan or state ever
    holds, and a copy in every region with a cluster. Until a value is there, what needs it stays shut.
    """

    def __init__(self, name: str, args: TeamSecretsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("sluice:state:TeamSecrets", name, None, opts)
        self._name, self._args = name, args
        self._own = pulumi.ResourceOptions(parent=self)
        for team in args.teams:
            self._secret(f"{name}-{team}", secret_name(args.owned.environment, API_KEYS, team), args.owned.by(team))
        for shared in args.shared:
            self._secret(f"{name}-{shared}", secret_name(args.owned.environment, shared), args.owned)
        self._grafana()
        self.register_outputs({})

    def _secret(self, resource: str, name: str, owned: Owned) -> aws.secretsmanager.Secret:
        return aws.secretsmanager.Secret(
            resource,
            name=name,
            replicas=[{"region": region} for region in self._args.replicas] or None,
            recovery_window_in_days=30 if self._args.deletion_protection else 0,
            tags=owned.tags(resource),
            opts=self._own,
        )

    def _grafana(self) -> None:
        """Draw the password of Grafana's own administrator once: the chart's is the same everywhere."""
        drawn = aws.secretsmanager.get_random_password_output(
            password_length=32, exclude_punctuation=True, opts=pulumi.InvokeOptions(parent=self)
        )
        secret = self._secret(
            f"{self._name}-{GRAFANA}", secret_name(self._args.owned.environment, GRAFANA), self._args.owned
        )
        aws.secretsmanager.SecretVersion(
            f"{self._name}-{GRAFANA}",
            secret_id=secret.id,
            secret_string=pulumi.Output.secret(drawn.random_password),
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["secretString"]),
        )
