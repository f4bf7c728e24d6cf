"""The part of the environment file that only the Pulumi stacks read: network, cluster, state, teams and budgets.

Pure. Every field has a default that is safe for production; an environment without the block gets those.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, StringConstraints


class Block(BaseModel):
    """Base of the blocks: strict and frozen, like every block of the file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TeamSpec(Block):
    """A product team: what it may spend and send, and where its alarms go."""

    budget_usd_per_month: PositiveFloat | None = None
    requests_per_minute: PositiveInt | None = None
    alert_email: Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")] | None = None


class InfrastructureSpec(Block):
    """Choices for networks, clusters and state; the defaults are production's."""

    cost_center: str | None = None
    vpc_cidr: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+\.\d+/\d+$")] = "10.0.0.0/16"
    nat_gateways: Annotated[str, StringConstraints(pattern="^(one|per_zone)$")] = "per_zone"
    kubernetes_version: str = "1.33"
    log_retention_days: PositiveInt = 365
    deletion_protection: bool = True
    backup_retention_days: Annotated[int, Field(ge=0, le=35)] = 14
    domain: str | None = None
