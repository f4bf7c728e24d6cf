"""What a plan's rules know beyond the file: who made what, where it served before, what guarded it. Plain data.

The planner gathers it (`reconciler.planning.facts`); a case of `sluice policy test` writes it down. What nobody could
read is a text that says why, and never an empty list: a rule then says that it is not known.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from environments.policies import Instant, Level

Kind = Literal["model", "repository", "adapter", "prompt", "index", "guardrails"]
LINEAGE_KEYS = (
    "license", "model_card", "validation", "reviewed_by", "signature", "datasets", "name", "base", "rank", "formats",
)  # fmt: skip
"""What a registry may say of an artifact: docs/reference/lineage.md has where each comes from."""

Unread = Annotated[str, Field(min_length=1)]
"""Why something is not known, in words that follow "because"."""


class Block(BaseModel):
    """Base of the facts: strict and frozen, and the same in Python, in a case's file and in an expression."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ArtifactFacts(Block):
    """One artifact of a release. `known` is what its registry says of it (`LINEAGE_KEYS`), or why nobody knows."""

    ref: str
    kind: Kind
    digest: str = ""
    datasets: list[str] = []
    known: dict[str, str] | Unread = Field(default={}, union_mode="left_to_right")


class ReleaseFacts(Block):
    """A release that an endpoint declares, with its artifacts by their path in the file (`model`, `adapters.acme`)."""

    id: str
    artifacts: dict[str, ArtifactFacts] = {}


class Promotion(Block):
    """A release that another environment promoted. `at` is when its last region did; `gates` are their verdicts.

    `until` is when another release took its place, None while it serves. `undone` says that it was rolled back, `hand`
    that a person promoted it past gates and judge.
    """

    endpoint: str
    release: str
    at: Instant
    until: Instant | None = None
    gates: dict[str, str] = {}
    undone: bool = False
    hand: bool = False


class ProtectFacts(Block):
    """One row of `judge.protect`."""

    metric: str
    ratio: float
    share: float | None = None


class Guard(Block):
    """What stood between an endpoint and a bad release: rows, gates with their limits, and levels of policies."""

    protect: list[ProtectFacts] = []
    gates: dict[str, dict[str, float]] = {}
    levels: dict[str, Level] = {}


class Champion(Block):
    """What serves at an address before a change, which is what a rollback returns to."""

    release: str
    slot: str
    ready: bool
    warm: bool


class Approval(Block):
    """Somebody's approval of this very plan: the key that signed it, whose it is, and when."""

    key: str
    name: str
    at: Instant


class Facts(Block):
    """All of it. Keys: endpoints for `releases` and `guards`, environments for `promotions`, addresses else.

    A guard of None says that the endpoint has had no release yet. `approvals` is None where nobody asked for them.
    """

    releases: dict[str, ReleaseFacts] = {}
    promotions: dict[str, list[Promotion] | Unread] = {}
    guards: dict[str, Guard | Unread | None] = {}
    champions: dict[str, Champion | Unread] = {}
    approvals: list[Approval] | None = None
    author: str | None = None
