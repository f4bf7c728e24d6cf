"""A rollout: the process that takes a challenger to champion, region by region. Pure data with a JSON form.

The store keeps it; `next_steps` reads it, `after` makes the next one from it. Times are epoch seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from environments.names import Address
from environments.redact import redact
from reconciler.core.canonical import Json
from reconciler.core.release import Release, release_from_json, release_to_json
from reconciler.core.settings import RolloutSettings, settings_from_json, settings_to_json
from reconciler.core.verdict import Verdict


class Phase(StrEnum):
    """Where a rollout, or one region of it, stands."""

    PENDING = "pending"
    PREPARING = "preparing"
    GATING = "gating"
    SHIFTING = "shifting"
    BAKING = "baking"
    PAUSED = "paused"
    PROMOTED = "promoted"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"


FORWARD = (Phase.PREPARING, Phase.GATING, Phase.SHIFTING, Phase.BAKING)
ROLLOUT, REPAIR, ROLLBACK = "rollout", "repair", "rollback"
ENDED = (Phase.PROMOTED, Phase.ROLLED_BACK, Phase.FAILED)


class Intent(StrEnum):
    """What a person asked of a rollout; the loop acts on it at its next step."""

    NONE = "none"
    PAUSE = "pause"
    ABORT = "abort"
    PROMOTE = "promote"


@dataclass(frozen=True)
class GateResult:
    """The latest answer of one gate in one region. `attempts` counts ERRORs in a row as well."""

    gate: str
    verdict: Verdict
    sentence: str
    attempts: int = 1
    figures: Json = field(default_factory=dict)
    links: tuple[str, ...] = ()


@dataclass(frozen=True)
class RegionRollout:
    """One region of a rollout.

    `slot` is the challenger's; `champion_slot` is None on a first deployment. `step` indexes the ladder while
    SHIFTING. `since` is when the present phase or step came into force; `unready_since` when the challenger was last
    seen to stop answering.
    """

    region: str
    wave: int
    slot: str
    champion_slot: str | None = None
    champion: Release | None = None
    phase: Phase = Phase.PENDING
    step: int = 0
    since: float = 0.0
    unready_since: float | None = None
    gates: tuple[GateResult, ...] = ()
    verdict: Verdict | None = None
    reason: str = ""

    def gate(self, name: str) -> GateResult | None:
        """Return the latest answer of a gate."""
        return next((g for g in self.gates if g.gate == name), None)


@dataclass(frozen=True)
class Rollout:
    """One endpoint's way from champion to challenger, over all its regions.

    `phase` is PAUSED while a person has to decide. `mode` is `rollout`; `rollback` when a person returns to an
    earlier release, which flips the weight without a canary; `repair` when the serving release is brought back.
    """

    id: str
    environment: str
    endpoint: str
    challenger: Release
    settings: RolloutSettings
    regions: tuple[RegionRollout, ...]
    started_at: float
    phase: Phase = Phase.PENDING
    intent: Intent = Intent.NONE
    reason: str = ""
    actor: str = ""
    mode: str = ROLLOUT

    def region(self, name: str) -> RegionRollout:
        """Return one region's part."""
        return next(r for r in self.regions if r.region == name)

    def address(self, region: str) -> Address:
        """Return the address of this rollout's endpoint in a region."""
        return Address(self.environment, region, self.endpoint)

    def with_region(self, region: RegionRollout) -> Rollout:
        """Return the rollout with one region's part replaced."""
        return replace(self, regions=tuple(region if r.region == region.region else r for r in self.regions))

    @property
    def ended(self) -> bool:
        """Return whether nothing is left to do."""
        return self.phase in ENDED


def rollout_to_json(rollout: Rollout) -> Json:
    """Return JSON from which `rollout_from_json` makes an equal rollout; secrets in reasons are hidden."""
    plain = ("id", "environment", "endpoint", "started_at", "reason", "actor", "mode")
    return {
        **{name: getattr(rollout, name) for name in plain},
        "reason": redact(rollout.reason),
        "phase": str(rollout.phase),
        "intent": str(rollout.intent),
        "challenger": release_to_json(rollout.challenger),
        "settings": settings_to_json(rollout.settings),
        "regions": [_region_to_json(r) for r in rollout.regions],
    }


def rollout_from_json(data: Json) -> Rollout:
    """Return the rollout that `rollout_to_json` wrote."""
    fixed: dict[str, Any] = {
        "phase": Phase(data["phase"]),
        "intent": Intent(data["intent"]),
        "challenger": release_from_json(data["challenger"]),
        "settings": settings_from_json(data["settings"]),
        "regions": tuple(_region_from_json(r) for r in data["regions"]),
    }
    return Rollout(**{**data, **fixed})


def _region_to_json(region: RegionRollout) -> Json:
    plain = ("region", "wave", "slot", "champion_slot", "step", "since", "unready_since", "reason")
    gates = [
        {
            "gate": g.gate,
            "verdict": str(g.verdict),
            "sentence": redact(g.sentence),
            "attempts": g.attempts,
            "figures": g.figures,
            "links": list(g.links),
        }
        for g in region.gates
    ]
    return {
        **{name: getattr(region, name) for name in plain},
        "reason": redact(region.reason),
        "phase": str(region.phase),
        "champion": release_to_json(region.champion) if region.champion else None,
        "verdict": str(region.verdict) if region.verdict else None,
        "gates": gates,
    }


def _region_from_json(data: Json) -> RegionRollout:
    gates = tuple(
        GateResult(**{**g, "verdict": Verdict(g["verdict"]), "links": tuple(g["links"])}) for g in data["gates"]
    )
    fixed: dict[str, Any] = {
        "phase": Phase(data["phase"]),
        "champion": release_from_json(data["champion"]) if data["champion"] else None,
        "verdict": Verdict(data["verdict"]) if data["verdict"] else None,
        "gates": gates,
    }
    return RegionRollout(**{**data, **fixed})
