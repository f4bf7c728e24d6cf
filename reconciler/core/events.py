"""What the ledger tells: a type for each kind of event, and its words. Pure.

The kinds are what `sluice history --json` gives out. What is read back from the ledger finds its kind here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, assert_never

from environments.errors import SluiceError
from environments.names import Address
from reconciler.core.canonical import Json
from reconciler.core.model.observed import ObservedEndpoint, endpoint_facts
from reconciler.core.model.release import release_to_json
from reconciler.core.model.rollout import GateResult, Rollout
from reconciler.core.rollout.describe import describe
from reconciler.core.rollout.steps import Effect, Finish, SetAlias, Step, Transition, step_kind

STATE, CAPACITY, NOISE, CACHE, APPROVED, SIGNED = "state", "capacity", "noise", "kv_cache", "approved", "signed"
GUARD, BREAK_GLASS, SET_ASIDE = "guard", "break_glass", "approvers_set_aside"


@dataclass(frozen=True)
class RolloutBegun:
    """A rollout was stored: told with the whole release, its lineage, and the champions' ids by region."""

    rollout: Rollout


@dataclass(frozen=True)
class EffectStarted:
    """An effect is about to be carried out."""

    rollout: Rollout
    step: Effect


@dataclass(frozen=True)
class EffectDone:
    """An effect is in force; `found` is what a gate answered."""

    rollout: Rollout
    step: Effect
    found: GateResult | None = None


@dataclass(frozen=True)
class EffectFailed:
    """An effect has failed, `tries` times in a row."""

    rollout: Rollout
    step: Effect
    error: SluiceError
    tries: int


@dataclass(frozen=True)
class Decided:
    """A decision took effect: a phase was entered, the rollout paused or ended. `evidence` is what it rests on."""

    rollout: Rollout
    step: Transition
    evidence: Json = field(default_factory=dict)


@dataclass(frozen=True)
class StateRecorded:
    """What is live at the end of a rollout: `sluice drift` compares with it."""

    rollout: Rollout
    seen: ObservedEndpoint


@dataclass(frozen=True)
class RemovalTold:
    """An endpoint that the file no longer declares is about to be removed (`before`), was (`after`), is not there."""

    address: Address
    kind: str


@dataclass(frozen=True)
class AdoptionTold:
    """A person takes fields of an endpoint's objects over from others: about to be (`before`), or done (`after`).

    `fields` has of each its object, field, manager, operation and time.
    """

    address: Address
    kind: str
    fields: tuple[Mapping[str, str], ...]
    who: str
    reason: str


@dataclass(frozen=True)
class OperatorAction:
    """A person wants something of a rollout: `action` is `pause`, `resume`, `abort`, `promote` or `rollback`."""

    rollout: Rollout
    action: str
    who: str
    reason: str


@dataclass(frozen=True)
class CapacityMeasured:
    """What one release carries in one region: requests a second, 0 when no rate kept the SLO."""

    address: Address
    release: str
    rate_rps: float
    details: Mapping[str, Any]


@dataclass(frozen=True)
class CacheLogged:
    """What a server said of its KV cache after it had started, and on which kind of GPU, None where nobody knows."""

    rollout: Rollout
    address: Address
    release: str
    gpu: str | None
    tokens: int
    concurrency: float


@dataclass(frozen=True)
class NoiseLearned:
    """How much the arms of an endpoint differ by their machines alone: a log standard deviation, from some minutes."""

    address: Address
    sigma: float
    minutes: int
    details: Mapping[str, Any]


@dataclass(frozen=True)
class PlanApproved:
    """A plan with enough approvals is about to be carried out at an endpoint: who, and what they signed.

    `rule` is the rule that was in force, None where the environment file asks for no approvals any more.
    """

    address: Address
    digest: str
    people: tuple[str, ...]
    envelopes: tuple[Json, ...]
    rule: Json | None


@dataclass(frozen=True)
class HeadSigned:
    """The ledger's head was signed: `seq` is the entry that was last, `envelope` what was signed."""

    address: Address
    rollout: str | None
    seq: int
    envelope: Json


@dataclass(frozen=True)
class GuardRecorded:
    """What stands between an endpoint and a bad release: the next release is compared with it."""

    address: Address
    guard: Json


@dataclass(frozen=True)
class GlassUsed:
    """An emergency let pass what policies deny: who decided it, why, until when, and which policies."""

    address: Address
    policies: tuple[str, ...]
    who: str
    reason: str
    until: str


@dataclass(frozen=True)
class ApproversSetAside:
    """The keys of the approvers on record are lost: from `after` (RFC 3339) on their word is not asked for.

    `rule` is the one that is set aside; `withdrawn` takes back what was said before, and then `after` is empty.
    """

    address: Address
    who: str
    reason: str
    after: str
    rule: Json | None
    withdrawn: bool = False


Event = (
    RolloutBegun
    | EffectStarted
    | EffectDone
    | EffectFailed
    | Decided
    | StateRecorded
    | RemovalTold
    | AdoptionTold
    | OperatorAction
    | CapacityMeasured
    | CacheLogged
    | NoiseLearned
    | PlanApproved
    | HeadSigned
    | GuardRecorded
    | GlassUsed
    | ApproversSetAside
)


@dataclass(frozen=True)
class Told:
    """An event as the ledger keeps it. `rollout` is the id of the one it belongs to."""

    kind: str
    address: Address
    summary: str
    body: Json
    rollout: str | None = None


def told(event: Event) -> Told:
    """Return how the ledger tells of an event."""
    match event:
        case RolloutBegun(rollout=going):
            return Told("begin", _everywhere(going), f"{going.mode} of {going.challenger.id}", _begun(going), going.id)
        case EffectStarted(rollout=going, step=step):
            return _of_step(going, step, f"{step_kind(step)}.before")
        case EffectDone(rollout=going, step=step, found=found):
            words = f"{found.gate}: {found.verdict}: {found.sentence}" if found else ""
            more = {"evidence": asdict(found) | {"verdict": str(found.verdict)}} if found else {}
            return _of_step(going, step, f"{step_kind(step)}.after", words, more)
        case EffectFailed(rollout=going, step=step, error=error, tries=tries):
            words = f"{error.code}: {error.problem.what}"
            facts = {"code": error.code, "why": error.problem.why, "tries": tries}
            return _of_step(going, step, f"{step_kind(step)}.failed", words, facts)
        case Decided(rollout=going, step=step, evidence=evidence):
            return _of_step(going, step, step_kind(step), extra={"evidence": evidence} if evidence else {})
        case StateRecorded(rollout=going, seen=seen):
            return Told(STATE, seen.address, "live state recorded", endpoint_facts(seen), going.id)
        case RemovalTold(address=address, kind=kind):
            return Told(kind, address, "the environment file no longer declares it", {"removed": True})
        case AdoptionTold(address=address, kind=kind, fields=fields, who=who, reason=reason):
            owners = ", ".join(sorted({field["manager"] for field in fields})) or "nobody"
            words = f"{len(fields)} fields taken from {owners} by {who}: {reason}"
            return Told(kind, address, words, {"reason": reason, "fields": [dict(field) for field in fields]})
        case OperatorAction(rollout=going, action=action, who=who, reason=reason):
            words = f"{action} by {who}: {reason}"
            return Told(f"operator:{action}", _everywhere(going), words, {"reason": reason}, going.id)
        case CapacityMeasured(address=address, release=release, rate_rps=rate, details=details):
            kept = f"up to {rate:g} requests/s" if rate else "at no rate that was tried"
            return Told(CAPACITY, address, f"{release} keeps its slo {kept}", dict(details))
        case CacheLogged(rollout=going, address=address, release=release, tokens=tokens, concurrency=most):
            body = {"release": release, "gpu": event.gpu, "tokens": tokens, "concurrency": most}
            words = f"{release} caches {tokens:,} tokens: {most:.2f} requests of the full length"
            return Told(CACHE, address, words, body, going.id)
        case NoiseLearned(address=address, sigma=sigma, minutes=minutes, details=details):
            return Told(NOISE, address, f"noise {sigma:.3f} from {minutes} minutes", dict(details))
        case PlanApproved(address=address, digest=plan, people=people, envelopes=envelopes, rule=rule):
            facts = {"digest": plan, "people": list(people), "envelopes": list(envelopes), "rule": rule}
            return Told(APPROVED, address, f"{plan} approved by {', '.join(people) or 'nobody: none is asked'}", facts)
        case HeadSigned(address=address, rollout=id, seq=seq, envelope=envelope):
            return Told(SIGNED, address, f"the ledger up to entry {seq} is signed", {"envelope": envelope}, id)
        case GuardRecorded(address=address, guard=guard):
            return Told(GUARD, address, "what guards its releases, as the file declares it", dict(guard))
        case GlassUsed(address=address, policies=policies, who=who, reason=reason, until=until):
            words = f"BREAK-GLASS of {who}: denied by {', '.join(policies)} but for it: {reason}"
            facts = {"policies": list(policies), "who": who, "reason": reason, "until": until}
            return Told(BREAK_GLASS, address, words, facts)
        case ApproversSetAside(address=address, who=who, reason=reason, after=after, rule=rule, withdrawn=withdrawn):
            said = "the approvers on record are asked again" if withdrawn else f"APPROVERS SET ASIDE from {after} on"
            facts = {"who": who, "reason": reason, "after": after, "rule": rule, "withdrawn": withdrawn}
            return Told(SET_ASIDE, address, f"{said}, by {who}: {reason}", facts)
        case _:
            assert_never(event)


def _begun(going: Rollout) -> Json:
    champions = {r.region: r.champion.id if r.champion else None for r in going.regions}
    return {"mode": going.mode, "challenger": release_to_json(going.challenger), "champions": champions}


def _of_step(going: Rollout, step: Step, kind: str, words: str = "", extra: Json | None = None) -> Told:
    body: dict[str, Any] = {k: v for k, v in vars(step).items() if k != "region"}
    body = {k: [list(p) for p in v] if isinstance(v, tuple) else v for k, v in body.items()}
    address = _everywhere(going) if isinstance(step, SetAlias | Finish) else going.address(step.region)
    return Told(kind, address, words or describe(step), {**body, **(extra or {})}, going.id)


def _everywhere(going: Rollout) -> Address:
    return Address.everywhere(going.environment, going.endpoint)
