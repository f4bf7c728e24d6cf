"""By whose word a plan is carried out: the rule of the last apply, and whether its keys were said to be lost. Reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconciler.core.attest.approvals import Rule, rule_from_json
from reconciler.core.events import APPROVED, SET_ASIDE
from reconciler.core.model.finding import Finding
from reconciler.ports import Entry, Store


@dataclass(frozen=True)
class SetAside:
    """Somebody said that the keys of the approvers on record are lost. `after` is in epoch seconds and in words."""

    who: str
    reason: str
    after_s: float
    after: str

    @property
    def words(self) -> str:
        """Return what every plan says of it until an approved plan was applied."""
        return (
            f"{self.who} said that the keys of the approvers on record are lost: {self.reason}. "
            f"From {self.after} on the file's own approvers are enough"
        )


@dataclass(frozen=True)
class OnRecord:
    """The rule by which the last plan was applied, None when there was none; `aside` is what was said since."""

    rule: Rule | None
    aside: SetAside | None = None

    def in_force(self, now: float) -> Rule | None:
        """Return the rule whose people have to agree; None once it was set aside and the time to object is over."""
        return None if self.aside and now >= self.aside.after_s else self.rule


async def on_record(store: Store, environment: str) -> OnRecord:
    """Return by whose word the last plan was applied; an apply since then ends what was set aside."""
    last = _last(await store.newest(environment, APPROVED))
    if last is None:
        return OnRecord(None)
    said = _last(await store.newest(environment, SET_ASIDE))
    rule = rule_from_json(last.body["rule"])
    if said is None or said.seq < last.seq or said.body["withdrawn"]:
        return OnRecord(rule)
    after = said.body["after"]
    aside = SetAside(said.body["who"], said.body["reason"], datetime.fromisoformat(after).timestamp(), after)
    return OnRecord(rule, aside)


async def set_aside_findings(store: Store, environment: str) -> list[Finding]:
    """Warn, in every plan, that approvers are being replaced without their word."""
    aside = (await on_record(store, environment)).aside
    return [Finding("APPR-012", "warn", environment, aside.words)] if aside else []


def _last(entries: tuple[Entry, ...]) -> Entry | None:
    return max(entries, key=lambda entry: entry.seq, default=None)
