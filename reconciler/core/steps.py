"""Steps: the typed things that a rollout can do next; plan, executor and progress read this one union. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from reconciler.core.rollout import Phase
from reconciler.core.verdict import Verdict


@dataclass(frozen=True)
class StartSlot:
    """Run a release in a slot. `role` is `challenger`, or `champion` when that one must be brought back."""

    region: str
    slot: str
    release: str
    role: str = "challenger"


@dataclass(frozen=True)
class WarmSlot:
    """Send warm-up requests to a slot."""

    region: str
    slot: str
    requests: int


@dataclass(frozen=True)
class RunGate:
    """Ask one gate for evidence."""

    region: str
    gate: str


@dataclass(frozen=True)
class Publish:
    """Publish the prompts' split: `share_pct` of users get the challenger's prompts, the rest the champion's."""

    region: str
    share_pct: float


@dataclass(frozen=True)
class Weigh:
    """Split traffic by these weights, `(slot, percent)` sorted by slot, sum 100."""

    region: str
    weights: tuple[tuple[str, float], ...]
    challenger_pct: float


@dataclass(frozen=True)
class Enter:
    """Move a region to a phase, or to a step of the ladder; nothing live changes."""

    region: str
    phase: Phase
    step: int = 0
    verdict: Verdict | None = None
    reason: str = ""


@dataclass(frozen=True)
class Note:
    """Remember when the challenger stopped answering (None: it answers again); nothing live changes."""

    region: str
    unready_since: float | None


@dataclass(frozen=True)
class Pause:
    """Stop and wait for a person."""

    region: str
    verdict: Verdict | None
    reason: str


@dataclass(frozen=True)
class StopSlot:
    """End what runs in a slot without weight."""

    region: str
    slot: str


@dataclass(frozen=True)
class Remove:
    """Take an endpoint out of a region's gateway and empty its slots."""

    region: str


@dataclass(frozen=True)
class Mark:
    """Point the registry's alias `champion` at a model."""

    ref: str
    alias: str = "champion"


@dataclass(frozen=True)
class Finish:
    """End the rollout."""

    phase: Phase
    reason: str


@dataclass(frozen=True)
class Await:
    """Nothing to do but look again; `left_s` is the longest that this can last, None when a person decides."""

    region: str
    reason: str
    left_s: float | None = None


Step = (
    StartSlot | WarmSlot | RunGate | Publish | Weigh | Enter | Note | Pause | StopSlot | Remove | Mark | Finish | Await
)
EFFECTS = (StartSlot, WarmSlot, RunGate, Publish, Weigh, StopSlot, Remove, Mark)


def step_kind(step: Step) -> str:
    """Return the step's name as plans, ledger and progress spell it."""
    match step:
        case StartSlot():
            return "start"
        case WarmSlot():
            return "warm"
        case RunGate(gate=gate):
            return f"gate:{gate}"
        case Publish():
            return "publish"
        case Weigh():
            return "weigh"
        case Enter(phase=phase):
            return f"enter:{phase}"
        case Note():
            return "note"
        case Pause():
            return "pause"
        case StopSlot():
            return "stop"
        case Remove():
            return "remove"
        case Mark():
            return "mark"
        case Finish():
            return "finish"
        case Await():
            return "await"
        case _:
            assert_never(step)
