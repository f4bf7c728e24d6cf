"""Who something belongs to: the tags of every AWS resource and the labels of every Kubernetes object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from environments.names import ENVIRONMENT_LABEL, TEAM_LABEL
from environments.spec import EnvironmentSpec

MANAGED_BY = "pulumi"
PLATFORM_TEAM = "platform"
REQUIRED_TAGS = ("environment", "team", "owner", "cost-center", "managed-by")
_NOT_IN_A_LABEL = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Owned:
    """Environment, team, person or group that answers, and the cost center that pays."""

    environment: str
    owner: str
    cost_center: str
    team: str = PLATFORM_TEAM

    def by(self, team: str) -> Owned:
        """Return the same environment's ownership for a product team."""
        return replace(self, team=team)

    def tags(self, name: str | None = None, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the tags of an AWS resource; `name` becomes the tag that consoles show."""
        tags = {
            "environment": self.environment,
            "team": self.team,
            "owner": self.owner,
            "cost-center": self.cost_center,
            "managed-by": MANAGED_BY,
        }
        return tags | ({"Name": name} if name else {}) | dict(extra or {})

    def labels(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the labels of a Kubernetes object; what a label may not hold becomes `-`."""
        labels = {
            ENVIRONMENT_LABEL: self.environment,
            TEAM_LABEL: self.team,
            "owner": self.owner,
            "cost-center": self.cost_center,
            "app.kubernetes.io/managed-by": MANAGED_BY,
        }
        return {key: label_value(value) for key, value in (labels | dict(extra or {})).items()}


def owned_by(spec: EnvironmentSpec) -> Owned:
    """Return the platform team's ownership in an environment; without a cost center the owner pays."""
    block = spec.infrastructure
    return Owned(spec.environment, spec.owner, (block.cost_center if block else None) or spec.owner)


def label_value(text: str) -> str:
    """Return `text` as a label's value: at most 63 letters, digits, `-`, `_` and `.`, ending in a letter or digit."""
    return _NOT_IN_A_LABEL.sub("-", text).strip("-_.")[:63].strip("-_.")
