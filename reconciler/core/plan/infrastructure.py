"""What `pulumi preview` says an environment's stacks would become: a part of the plan and of its digest. Pure.

Names of properties are kept and values are not: a value may be a secret, and reviewers read `pulumi preview` for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from environments.prices import PriceBook
from reconciler.core.canonical import Json
from reconciler.core.model.finding import Finding
from reconciler.core.plan.machines import Machines, machines_from_json, monthly_words

PROJECTS = ("images", "foundation", "platform", "serving")
"""The shipped projects, in the order in which they are brought up; a user's own come after them, by name."""


@dataclass(frozen=True, order=True)
class ResourceChange:
    """One resource that a preview changes. `op` is Pulumi's word: create, update, replace, delete, import.

    `before` and `after` are the machines that it runs, of types that the price table knows.
    """

    urn: str
    op: str
    type: str
    fields: tuple[str, ...] = ()
    before: tuple[Machines, ...] = ()
    after: tuple[Machines, ...] = ()

    @property
    def name(self) -> str:
        """Return the name that the program gives it."""
        return self.urn.rpartition("::")[2]


@dataclass(frozen=True, order=True)
class StackPreview:
    """One project's preview. `unknown` says why nobody can know yet: what it reads of an earlier stack is not there.

    `cost` are the lines that say what it adds, changes and removes a month.
    """

    project: str
    changes: tuple[ResourceChange, ...] = ()
    findings: tuple[Finding, ...] = field(default=(), compare=False)
    unknown: str | None = None
    cost: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Return how many resources each operation is about, sorted by operation."""
        return dict(sorted(Counter(change.op for change in self.changes).items()))

    def to_json(self) -> Json:
        """Return the preview as a plan's JSON has it; findings stand with the plan's own."""
        told: Json = {"project": self.project, "changes": [_told(c) for c in self.changes], "unknown": self.unknown}
        return told | ({"cost": list(self.cost)} if self.cost else {})


def preview_from_json(data: Any) -> StackPreview:
    """Return what `StackPreview.to_json` wrote, without findings."""
    changes = tuple(
        ResourceChange(
            c["urn"],
            c["op"],
            c["type"],
            tuple(c["fields"]),
            machines_from_json(c.get("before", ())),
            machines_from_json(c.get("after", ())),
        )
        for c in data["changes"]
    )
    return StackPreview(data["project"], changes, unknown=data["unknown"], cost=tuple(data.get("cost", ())))


def priced(preview: StackPreview, prices: PriceBook) -> StackPreview:
    """Return a preview with what it costs; where none of its changes is of a type with a price, it says nothing."""
    changes = [(c.before, c.after) for c in preview.changes if c.before or c.after]
    return replace(preview, cost=tuple(monthly_words(changes, prices)))


def _told(change: ResourceChange) -> Json:
    told: Json = {"urn": change.urn, "op": change.op, "type": change.type, "fields": list(change.fields)}
    machines = {"before": change.before, "after": change.after}
    return told | {name: [each.to_json() for each in found] for name, found in machines.items() if found}


def project_order(names: Iterable[str]) -> list[str]:
    """Return projects in the order in which they are brought up."""
    return sorted(names, key=lambda name: (PROJECTS.index(name) if name in PROJECTS else len(PROJECTS), name))


def summary(preview: StackPreview) -> str:
    """Return a preview in one line: `3 create, 1 update`."""
    if preview.unknown is not None:
        return f"not known yet: {preview.unknown}"
    return ", ".join(f"{count} {op}" for op, count in preview.counts.items()) or "no change"


def differences(planned: StackPreview, done: StackPreview) -> list[str]:
    """Return in words what was done to resources otherwise than it was planned; empty when all went as planned.

    Operations are compared by what becomes of each resource; which of its properties were written is Pulumi's.
    """
    before, after = ({c.urn: c.op for c in preview.changes} for preview in (planned, done))
    return [
        f"{urn.rpartition('::')[2]}: planned {before.get(urn, 'nothing')}, done {after.get(urn, 'nothing')}"
        for urn in sorted({*before, *after})
        if before.get(urn) != after.get(urn)
    ]
