"""Write what the loop does into store and ledger, before and after every effect. Imports ports and core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from environments.errors import SluiceError
from environments.names import Address
from reconciler.core.canonical import Json
from reconciler.core.observed import ObservedEndpoint, endpoint_facts
from reconciler.core.release import release_to_json
from reconciler.core.rollout import GateResult, Rollout, rollout_from_json, rollout_to_json
from reconciler.core.steps import (
    Enter,
    Finish,
    Mark,
    Pause,
    Publish,
    RunGate,
    StartSlot,
    Step,
    WarmSlot,
    Weigh,
    step_kind,
)
from reconciler.ports import Lease, Store, StoredRollout

_CONFLICTS_MAX = 20


def timestamp(now: float) -> str:
    """Return epoch seconds as RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Record:
    """One rollout's place in the store. `lease` is replaced when it is renewed."""

    store: Store
    stored: StoredRollout
    rollout: Rollout
    lease: Lease
    clock: Callable[[], float]

    async def reload(self) -> Rollout:
        """Read the rollout again: a person may have paused, aborted or resumed it meanwhile."""
        self.stored = await stored_rollout(self.store, self.stored.environment, self.stored.id)
        self.rollout = rollout_from_json(self.stored.body)
        return self.rollout

    async def change(self, changed: Callable[[Rollout], Rollout]) -> Rollout:
        """Store the changed rollout; when a person's hand came between, apply the change to what they left."""
        for _ in range(_CONFLICTS_MAX):
            rollout = changed(self.rollout)
            if rollout == self.rollout:
                return rollout
            try:
                self.stored = await self.store.save_rollout(
                    self.stored, rollout_to_json(rollout), active=not rollout.ended, lease=self.lease
                )
            except SluiceError as error:
                if error.code != "STORE-002":
                    raise
                await self.reload()
                continue
            self.rollout = rollout
            return rollout
        raise SluiceError(
            "STORE-002",
            where=self.rollout.id,
            what="the rollout kept changing under us",
            do="try again",
            retryable=True,
        )

    async def before(self, step: Step) -> None:
        """Say in the ledger what is about to be done."""
        await self._append(f"{step_kind(step)}.before", step, said(step), {})

    async def after(self, step: Step, found: GateResult | None) -> None:
        """Say in the ledger that it was done, with what a gate found."""
        body = {"evidence": asdict(found) | {"verdict": str(found.verdict)}} if found else {}
        summary = f"{found.gate}: {found.verdict}: {found.sentence}" if found else said(step)
        await self._append(f"{step_kind(step)}.after", step, summary, body)

    async def moved(self, step: Enter | Pause | Finish, evidence: Json) -> None:
        """Say in the ledger that the rollout moved on, and on what evidence."""
        await self._append(step_kind(step), step, said(step), {"evidence": evidence} if evidence else {})

    async def failed(self, step: Step, error: SluiceError) -> None:
        """Say in the ledger that an effect failed."""
        body = {"code": error.code, "why": error.problem.why}
        await self._append(f"{step_kind(step)}.failed", step, f"{error.code}: {error.problem.what}", body)

    async def state(self, observed: ObservedEndpoint) -> None:
        """Record what is live now at one address: what `sluice drift` compares with."""
        await self._write("state", str(observed.address), "live state recorded", endpoint_facts(observed))

    async def begun(self) -> None:
        """Record the rollout's beginning with the whole release, its lineage and its champions."""
        rollout = self.rollout
        champions = {r.region: r.champion.id if r.champion else None for r in rollout.regions}
        body = {"mode": rollout.mode, "challenger": release_to_json(rollout.challenger), "champions": champions}
        await self._write("begin", self._everywhere(), f"{rollout.mode} of {rollout.challenger.id}", body)

    async def _append(self, kind: str, step: Step, summary: str, extra: Json) -> None:
        body: dict[str, Any] = {k: v for k, v in vars(step).items() if k != "region"}
        body = {k: [list(p) for p in v] if isinstance(v, tuple) else v for k, v in body.items()}
        await self._write(kind, self._address(step), summary, {**body, **extra})

    async def _write(self, kind: str, address: str, summary: str, body: Json) -> None:
        await self.store.append(
            self.rollout.environment,
            at=timestamp(self.clock()),
            actor=self.lease.owner,
            kind=kind,
            address=address,
            summary=summary,
            rollout=self.rollout.id,
            body=body,
            lease=self.lease,
        )

    def _address(self, step: Step) -> str:
        return self._everywhere() if isinstance(step, Mark | Finish) else str(self.rollout.address(step.region))

    def _everywhere(self) -> str:
        return str(Address(self.rollout.environment, "*", self.rollout.endpoint))


async def stored_rollout(store: Store, environment: str, id: str) -> StoredRollout:
    """Return one rollout by id.

    Raises:
        SluiceError: `STORE-004` there is none.
    """
    stored = await store.rollout(id)
    if stored is not None:
        return stored
    raise SluiceError(
        "STORE-004", where=environment, what=f"there is no rollout {id}", do=f"sluice history {environment}"
    )


def said(step: Step) -> str:
    """Return a step in words, for ledger and progress."""
    match step:
        case Weigh(weights=weights):
            return "weights " + ", ".join(f"{slot} {pct:g} %" for slot, pct in weights)
        case StartSlot(slot=slot, release=release, role=role):
            return f"start {role} {release} in slot {slot}"
        case WarmSlot(slot=slot, requests=requests):
            return f"warm up slot {slot} with {requests} requests"
        case RunGate(gate=gate):
            return f"ask the {gate} gate"
        case Publish(share_pct=share):
            return f"{share:g} % of users get the challenger's prompts"
        case Enter(phase=phase, reason=reason):
            return f"{phase}: {reason}" if reason else str(phase)
        case Pause(reason=reason):
            return f"paused: {reason}"
        case Finish(phase=phase, reason=reason):
            return f"{phase}: {reason}"
        case Mark(ref=ref, alias=alias):
            return f"alias {alias} -> {ref}"
        case _:
            facts = {k: v for k, v in vars(step).items() if k != "region" and v is not None}
            return " ".join([step_kind(step), *(f"{k}={v}" for k, v in facts.items())])
