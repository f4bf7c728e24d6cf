"""Write down what guards endpoints that a plan leaves alone, where it has changed: loosened alone, it is seen alone."""

from __future__ import annotations

from environments.names import Address
from reconciler.core.events import GuardRecorded
from reconciler.core.plan.change import Action
from reconciler.core.plan.plan import Plan
from reconciler.engine.owner import described, owner_id
from reconciler.planning.facts import NEVER_RECORDED, declared_guard, recorded_guards
from reconciler.planning.planner import Planner
from reconciler.ports import Store, entry_of


async def note_guards(planner: Planner, store: Store, plan: Plan, *, now: float) -> tuple[str, ...]:
    """Record the guards of endpoints that are as declared, where they differ from what is recorded; return which."""
    moving = {c.address.endpoint for c in plan.changes if c.action is not Action.NONE}
    quiet = sorted({c.address.endpoint for c in plan.changes} - moving)
    known = await recorded_guards(store, plan.environment, quiet)
    noted = []
    for name in quiet:
        guard = declared_guard(planner.loaded.spec, name)
        unread = isinstance(known[name], str) and known[name] != NEVER_RECORDED
        if guard is not None and not unread and known[name] != guard:
            event = GuardRecorded(Address.everywhere(plan.environment, name), guard.model_dump(mode="json"))
            await store.append(entry_of(event, now=now, actor=described(owner_id())))
            noted.append(name)
    return tuple(noted)
