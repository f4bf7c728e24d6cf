"""Set aside approvers whose keys are lost: loud, late, and no wider than what the file says instead.

Who runs this can write to the store, and could have written another rule there anyway. It adds no power; it gives that
power a form that everybody sees in the ledger and in every plan, and a day in which the approvers can object.
"""

from __future__ import annotations

from environments.errors import SluiceError
from environments.names import Address
from reconciler.core.attest.approvals import rule_to_json
from reconciler.core.events import ApproversSetAside
from reconciler.core.times import timestamp
from reconciler.engine.owner import operator_name
from reconciler.planning.approvers import on_record
from reconciler.ports import Store, entry_of

WAIT_S = 24 * 3600
"""How long the approvers on record have to object before their word is not asked for any more."""


async def set_aside(store: Store, environment: str, reason: str, *, now: float) -> ApproversSetAside:
    """Say in the ledger that the keys on record are lost; said again, it keeps the first moment.

    Raises:
        SluiceError: `APPR-011` no plan was applied with approvals, so nobody but the file says who approves.
    """
    found = await on_record(store, environment)
    if found.rule is None:
        raise _nothing(environment, "no plan was applied with approvals, so only the file says who approves")
    after = found.aside.after if found.aside else timestamp(now + WAIT_S)
    return await _told(store, environment, reason, after, now=now)


async def withdraw(store: Store, environment: str, reason: str, *, now: float) -> ApproversSetAside:
    """Take back what `set_aside` said: the approvers on record are asked again.

    Raises:
        SluiceError: `APPR-011` nothing was said that could be taken back.
    """
    if (await on_record(store, environment)).aside is None:
        raise _nothing(environment, "nobody set the approvers on record aside")
    return await _told(store, environment, reason, "", now=now)


async def _told(store: Store, environment: str, reason: str, after: str, *, now: float) -> ApproversSetAside:
    rule = rule_to_json((await on_record(store, environment)).rule)
    at, who = Address.everywhere(environment, "*"), operator_name()
    event = ApproversSetAside(at, who, reason, after, rule, withdrawn=not after)
    await store.append(entry_of(event, now=now, actor=who))
    return event


def _nothing(environment: str, why: str) -> SluiceError:
    return SluiceError(
        "APPR-011",
        where=environment,
        what="there is nobody to set aside" if "file" in why else "there is nothing to withdraw",
        why=why,
        do=f"sluice history {environment} shows who approved what",
    )
