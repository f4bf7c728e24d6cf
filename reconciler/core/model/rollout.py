"""A rollout: the process that takes a challenger to champion, region by region. Pure data with a JSON form.

The store keeps it; `next_steps` reads it, `after` makes the next one from it. Times are epoch seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from environments.errors import SluiceError
from environments.names import Address
from environments.redact import redact
from reconciler.core.canonical import Json
from reconciler.core.model.release import Release, release_from_json, release_to_json
from reconciler.core.model.settings import RolloutSettings, settings_from_json, settings_to_json
from reconciler.core.model.verdict import Verdict


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
BACKWARD = (Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.FAILED)
ROLLOUT, REPAIR, ROLLBACK = "rollout", "repair", "rollback"
ENDED = (Phase.PROMOTED, Phase.ROLLED_BACK, Phase.FAILED)
SCHEMA = "sluice/rollout/v3"
READ = ("sluice/rollout/v1", "sluice/rollout/v2", SCHEMA)
"""The first version wrote no `schema`; what earlier ones lack has defaults."""


class Intent(StrEnum):
    """What a person asked of a rollout; the loop acts on it at its next step."""

    NONE = "none"
    PAUSE = "pause"
    ABORT = "abort"
    PROMOTE = "promote"

    @property
    def stops(self) -> bool:
        """Return whether what is being waited for need not be waited for any longer."""
        return self in (Intent.PAUSE, Intent.ABORT)


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
class Trouble:
    """An effect that has failed `tries` times in a row: `effect` is its key, the rest is what it said last.

    `retry_at` is when it may be tried again, in epoch seconds.
    """

    effect: str
    tries: int
    code: str
    what: str
    retryable: bool
    retry_at: float


@dataclass(frozen=True)
class Underway:
    """An effect that has begun and is not in force yet: its key, since when (epoch seconds), and what it waits for."""

    effect: str
    since: float
    why: str


@dataclass(frozen=True)
class RegionRollout:
    """One region of a rollout.

    `slot` is the challenger's; `champion_slot` is None on a first deployment. `step` indexes the ladder while
    SHIFTING. `since` is when the present phase or step came into force; `unready_since` when the challenger was last
    seen to stop answering, `displaced_since` when it lost its machine, `unreadable_since` when the region stopped to
    answer, `champion_unready_since` when a paused region's champion was first seen to lack servers for its traffic.
    `trouble` is the effect that keeps failing.
    `efforts` counts how often traffic was split in this phase and step: what never converges must not be tried for
    ever. `spec` is the region as the file declared it, so that it can be reached after it was deleted there.
    `retires` is a slot that a repair empties: what was kept warm there is not needed any more. `replicas` is how many
    servers carried all of the traffic when the rollout began; `asked_pct` the challenger's share that was asked last.
    `underway` is the effect that is not in force yet.
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
    unreadable_since: float | None = None
    gates: tuple[GateResult, ...] = ()
    verdict: Verdict | None = None
    reason: str = ""
    trouble: Trouble | None = None
    efforts: int = 0
    spec: Json | None = None
    retires: str | None = None
    replicas: int = 1
    asked_pct: float | None = None
    underway: Underway | None = None
    displaced_since: float | None = None
    champion_unready_since: float | None = None

    def gate(self, name: str) -> GateResult | None:
        """Return the latest answer of a gate."""
        return next((g for g in self.gates if g.gate == name), None)


@dataclass(frozen=True)
class Rollout:
    """One endpoint's way from champion to challenger, over all its regions.

    `phase` is PAUSED while a person has to decide. `mode` is `rollout`; `rollback` when a person returns to an
    earlier release, which flips the weight without a canary; `repair` when the serving release is brought back.
    `aliased` says that the registry's alias was moved to the challenger; `trouble` is why that keeps failing.
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
    aliased: bool = False
    trouble: Trouble | None = None

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

    @property
    def falling_back(self) -> bool:
        """Return whether every region has to return to its champion: one failed, or a person said so.

        It never becomes false again: nothing that happens later makes a rollout go forward that had to go back.
        """
        return self.intent is Intent.ABORT or any(r.phase in BACKWARD for r in self.regions)


def rollout_to_json(rollout: Rollout) -> Json:
    """Return JSON from which `rollout_from_json` makes an equal rollout; secrets in reasons are hidden."""
    plain = ("id", "environment", "endpoint", "started_at", "reason", "actor", "mode", "aliased")
    return {
        "schema": SCHEMA,
        **{name: getattr(rollout, name) for name in plain},
        "reason": redact(rollout.reason),
        "trouble": _trouble_to_json(rollout.trouble),
        "phase": str(rollout.phase),
        "intent": str(rollout.intent),
        "challenger": release_to_json(rollout.challenger),
        "settings": settings_to_json(rollout.settings),
        "regions": [_region_to_json(r) for r in rollout.regions],
    }


def rollout_from_json(data: Json) -> Rollout:
    """Return the rollout that `rollout_to_json` wrote, in this version or an earlier one.

    Raises:
        SluiceError: `STORE-010` a later version wrote it.
    """
    kept = dict(data)
    schema = kept.pop("schema", READ[0])
    if schema not in READ:
        raise SluiceError(
            "STORE-010",
            where=f"rollout {data.get('id')}",
            what=f"it was stored as {schema}, and this Sluice reads {SCHEMA} and before",
            why="what it does not know it would drop when it stores the rollout again",
            do="use the newer Sluice",
        )
    fixed: dict[str, Any] = {
        "phase": Phase(data["phase"]),
        "intent": Intent(data["intent"]),
        "challenger": release_from_json(data["challenger"]),
        "settings": settings_from_json(data["settings"]),
        "trouble": _trouble_from_json(data.get("trouble")),
        "regions": tuple(_region_from_json(r) for r in data["regions"]),
    }
    return Rollout(**{**kept, **fixed})


def _region_to_json(region: RegionRollout) -> Json:
    plain: tuple[str, ...] = ("region", "wave", "slot", "champion_slot", "step", "since", "unready_since")
    plain += ("unreadable_since", "reason", "efforts", "spec", "retires", "replicas", "asked_pct", "displaced_since")
    plain += ("champion_unready_since",)
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
        "trouble": _trouble_to_json(region.trouble),
        "underway": dict(vars(region.underway)) if region.underway else None,
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
        "trouble": _trouble_from_json(data.get("trouble")),
        "underway": Underway(**data["underway"]) if data.get("underway") else None,
    }
    return RegionRollout(**{**data, **fixed})


def _trouble_to_json(trouble: Trouble | None) -> Json | None:
    return None if trouble is None else dict(vars(trouble))


def _trouble_from_json(data: Json | None) -> Trouble | None:
    return None if data is None else Trouble(**data)
