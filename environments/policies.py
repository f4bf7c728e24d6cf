"""The part of the environment file that speaks of policies: levels, parameters, rules in CEL, and break-glass. Pure.

`policies.catalog` knows the rules; what stands here is what one environment says of them. `environments.spec` puts it
into the file.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, StringConstraints

from environments.names import NAME
from environments.strict import Strict

OWN_ID = r"[a-z][a-z0-9-]{0,39}/[a-z][a-z0-9-]{0,39}"
"""What a policy of an environment's own is called: `NAMESPACE/NAME`, which no policy of Sluice ever is."""


def parse_instant(value: object) -> datetime:
    """Return a point in time in UTC; YAML's own dates are not used, so a time is text with a zone.

    Raises:
        ValueError: it is none, or has no zone.
    """
    found = value if isinstance(value, datetime) else None
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            found = None
    if found is None or found.tzinfo is None:
        raise ValueError(f'"{value}" is not a point in time; expected one with a zone, like 2026-11-20T04:00:00Z')
    return found.astimezone(UTC)


def _level_alone(value: object) -> object:
    return {"level": value} if isinstance(value, str) else value


Instant = Annotated[datetime, BeforeValidator(parse_instant, json_schema_input_type=datetime)]
Level = Literal["deny", "warn", "info", "off"]
LEVELS_RISING: tuple[Level, ...] = ("off", "info", "warn", "deny")
Word = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Cel = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Clock = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$")]
Zone = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]+(/[A-Za-z_+\-0-9]+)*$")]
Version = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+){1,3}$")]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Action = Literal["create", "rollout", "update", "remove"]


class FreezeExceptionSpec(Strict):
    """One endpoint that may move during a freeze, until a moment and for a reason."""

    endpoint: Word
    until: Instant
    reason: Text


class FreezeSpec(Strict):
    """A time in which no release moves: weekly on `days` from `start` to `end` in `timezone`, or once by its dates."""

    name: Word
    days: list[Day] = []
    start: Clock = "00:00"
    end: Clock = "24:00"
    timezone: Zone = "Etc/UTC"
    begins: Instant | None = None
    ends: Instant | None = None
    reason: Text | None = None
    exceptions: list[FreezeExceptionSpec] = []


class PolicyMatchSpec(Strict):
    """What a policy of the environment's own is asked about; an empty list leaves everything.

    `over` says whether it is asked once for each endpoint, or once for the whole plan.
    """

    over: Literal["endpoint", "plan"] = "endpoint"
    endpoints: list[Word] = []
    teams: list[Word] = []
    actions: list[Action] = []


class CelVariableSpec(Strict):
    """A name for an expression: `variables.NAME` in what follows it."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    expression: Cel


class ValidationSpec(Strict):
    """What has to be true, in CEL, and what to say where it is not; `messageExpression` makes the text in CEL."""

    expression: Cel
    message: Text | None = None
    messageExpression: Cel | None = None


class PolicyOverride(Strict):
    """A policy's level in this environment and its parameters; under an id with `/`, a policy of your own in CEL."""

    level: Level
    reason: str | None = None
    max_increase_pct: PositiveFloat | None = None
    max_changed_pct: Annotated[float, Field(gt=0, le=100)] | None = None
    quota_gpus: PositiveInt | None = None
    environment: Word | None = None
    min_age_h: Annotated[float, Field(ge=0, le=8760)] | None = None
    max_age_h: PositiveFloat | None = None
    approvals: Annotated[int, Field(ge=1, le=20)] | None = None
    allowed: Annotated[list[Text], Field(min_length=1)] | None = None
    min_version: Version | None = None
    windows: Annotated[list[FreezeSpec], Field(min_length=1)] | None = None
    match: PolicyMatchSpec | None = None
    variables: list[CelVariableSpec] | None = None
    validations: Annotated[list[ValidationSpec], Field(min_length=1)] | None = None


PolicyLevel = Annotated[PolicyOverride, BeforeValidator(_level_alone, json_schema_input_type=Level | PolicyOverride)]


class BreakGlassSpec(Strict):
    """An emergency: these policies warn where they would deny, until a moment. Each use is in the ledger."""

    reason: Text
    who: Text
    until: Instant
    policies: Annotated[list[str], Field(min_length=1)]
