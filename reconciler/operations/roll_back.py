"""Go back to the last good release, endpoint by endpoint: what is in flight is aborted, what was promoted is undone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from environments.errors import SluiceError
from reconciler.core.events import OperatorAction
from reconciler.core.model.observed import ObservedEndpoint
from reconciler.core.model.rollout import Phase
from reconciler.core.plan.plan import Scope
from reconciler.engine.apply import Applier, Outcome
from reconciler.engine.owner import operator_name
from reconciler.operations.steer import Steered, Wish, steer
from reconciler.planning.planner import Planner, active_rollouts, check_scope
from reconciler.planning.rollback_target import begin_rollback, live_groups
from reconciler.ports import Store, entry_of

_APPEARS_S = 5.0
Agree = Callable[[str, str, Sequence[str]], None]
"""Asks a person about (endpoint, release, regions) that are a cold load; raises `ROLL-009` unless they agree."""


@dataclass(frozen=True)
class Back:
    """What came of one endpoint: it was undone (`outcome`), a rollout in flight was aborted (`steered`), or neither.

    `skipped` is why an endpoint that nobody named was left as it is: there is no release to go back to.
    """

    endpoint: str
    outcome: Outcome | None = None
    steered: Steered | None = None
    skipped: str | None = None

    @property
    def good(self) -> bool:
        """Return whether the endpoint is back, or will be: its owner was told."""
        if self.skipped:
            return True
        if self.steered:
            done = self.steered.outcome
            return done is None or bool(done.rollout and done.rollout.phase is Phase.ROLLED_BACK)
        return bool(self.outcome and self.outcome.good)


class RollBack:
    """Rolls endpoints back, side by side."""

    def __init__(
        self, planner: Planner, store: Store, applier: Applier, *, to: str | None, reason: str, agree: Agree
    ) -> None:
        self._planner = planner
        self._store = store
        self._applier = applier
        self._to = to
        self._reason = reason
        self._agree = agree
        self._environment = planner.loaded.spec.environment

    async def run(self, scope: Scope) -> list[Back]:
        """Roll back what `scope` leaves; what ails one endpoint stops no other.

        Raises:
            SluiceError: `PLAN-004` an unknown name, `ROLL-003` nothing serves, `ROLL-004` nowhere has anything to go
                back to.
        """
        check_scope(self._planner.loaded.spec, scope)
        active, groups = await asyncio.gather(
            active_rollouts(self._store, self._environment), live_groups(self._planner, scope)
        )
        named = bool(scope.endpoints)
        jobs = [self._endpoint(name, live, in_flight=name in active, named=named) for name, live in groups.items()]
        found = await asyncio.gather(*jobs)
        if all(back.skipped for back in found):
            raise SluiceError("ROLL-004", where=self._environment, what="; ".join(b.skipped or "" for b in found))
        return list(found)

    async def _endpoint(self, name: str, live: Sequence[ObservedEndpoint], *, in_flight: bool, named: bool) -> Back:
        if in_flight and self._to is None:
            return await self._abort(name)
        spec = self._planner.loaded.spec
        try:
            begin = await begin_rollback(self._store, live, self._to, self._reason, operator_name(), spec)
            draft = begin("draft", time.time())
            cold = [seen.address.region for seen in live if not _runs(seen, draft.challenger.id)]
            if cold:
                self._agree(name, draft.challenger.id, cold)
            outcome = await self._applier.run(name, begin)
        except SluiceError as error:
            if error.code == "LEASE-001" and self._to is None and await self._appears(name):
                return await self._abort(name)
            if error.code == "ROLL-004" and not named:
                return Back(name, skipped=f"{name}: {error.problem.what}")
            summary = f"{name}: {error.code}: {error.problem.what}"
            summary += f"; {error.problem.do}" if error.problem.do else ""
            return Back(name, Outcome(name, None, summary, good=False, error=error))
        if outcome.rollout:
            who = operator_name()
            event = OperatorAction(outcome.rollout, "rollback", who, self._reason)
            entry = entry_of(event, now=time.time(), actor=who)
            await self._store.append(entry)
        return Back(name, outcome)

    async def _abort(self, name: str) -> Back:
        wish = Wish("abort", self._reason)
        return Back(name, steered=await steer(self._store, self._applier, self._environment, name, wish))

    async def _appears(self, name: str) -> bool:
        """Return whether a rollout appears whose owner has just taken the lease: then it can be told."""
        until = time.monotonic() + _APPEARS_S
        while time.monotonic() < until:
            if await self._store.rollouts(self._environment, endpoint=name, active=True, limit=1):
                return True
            await asyncio.sleep(0.1)
        return False


def _runs(seen: ObservedEndpoint, release: str) -> bool:
    """Return whether a release's server runs here, so that going back loads nothing; it may have to be warmed up."""
    slot = seen.slots.get(seen.slot_of(release) or "")
    return slot is not None and slot.running
