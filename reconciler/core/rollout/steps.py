"""Steps: the typed things that a rollout can do next; plan, executor and progress read this one union. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

from reconciler.core.model.rollout import Phase
from reconciler.core.model.verdict import Verdict


@dataclass(frozen=True)
class StartSlot:
    """Run a release in a slot. `role` is `challenger`, or `champion` when that one must be brought back."""

    region: str
    slot: str
    release: str
    role: str = "challenger"
    replicas: int = 1


@dataclass(frozen=True)
class ScaleSlot:
    """Have a slot run so many servers of the release that it holds."""

    region: str
    slot: str
    replicas: int


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
class SetWeights:
    """Split traffic by these weights, `(slot, percent)` sorted by slot, sum 100."""

    region: str
    weights: tuple[tuple[str, float], ...]
    challenger_pct: float


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
class SetAlias:
    """Point the registry's aliases at a model: an effect of the whole rollout."""

    ref: str
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class Enter:
    """Move a region to a phase, or to a step of the ladder; nothing live changes."""

    region: str
    phase: Phase
    step: int = 0
    verdict: Verdict | None = None
    reason: str = ""


@dataclass(frozen=True)
class NoteSilence:
    """Remember since when something does not answer (None: it answers again); nothing live changes.

    `what` is `unready`, the challenger's server, `displaced`, that server with its machine, `champion`, servers that a
    paused region's champion lacks, or `unreadable`, the whole region.
    """

    region: str
    what: Literal["unready", "displaced", "champion", "unreadable"]
    since: float | None


@dataclass(frozen=True)
class Pause:
    """Stop and wait for a person."""

    region: str
    verdict: Verdict | None
    reason: str


@dataclass(frozen=True)
class Finish:
    """End the rollout."""

    phase: Phase
    reason: str


@dataclass(frozen=True)
class Wait:
    """Nothing to do but look again.

    `left_s` is the longest that this can last, None where no time ends it. `settled` says that only a person, or
    another region, can change anything here: nobody has to watch.
    """

    region: str
    reason: str
    left_s: float | None = None
    settled: bool = False


RegionEffect = StartSlot | ScaleSlot | WarmSlot | RunGate | Publish | SetWeights | StopSlot | Remove
Effect = RegionEffect | SetAlias
RegionTransition = Enter | NoteSilence | Pause
Transition = RegionTransition | Finish
RegionStep = RegionEffect | RegionTransition | Wait
RolloutStep = SetAlias | Finish | Wait
Step = Effect | Transition | Wait
EFFECTS = (StartSlot, ScaleSlot, WarmSlot, RunGate, Publish, SetWeights, StopSlot, Remove, SetAlias)
TRANSITIONS = (Enter, NoteSilence, Pause, Finish)


def step_kind(step: Step) -> str:
    """Return the step's name as plans, ledger and progress spell it."""
    match step:
        case StartSlot():
            return "start"
        case ScaleSlot():
            return "scale"
        case WarmSlot():
            return "warm"
        case RunGate(gate=gate):
            return f"gate:{gate}"
        case Publish():
            return "publish"
        case SetWeights():
            return "weigh"
        case Enter(phase=phase):
            return f"enter:{phase}"
        case NoteSilence():
            return "note"
        case Pause():
            return "pause"
        case StopSlot():
            return "stop"
        case Remove():
            return "remove"
        case SetAlias():
            return "mark"
        case Finish():
            return "finish"
        case Wait():
            return "await"
        case _:
            assert_never(step)


def effect_key(effect: Effect) -> str:
    """Return what makes two effects the same undertaking, so that its failures are counted together.

    A weight that could not be set is the same trouble whatever the weight was; a start of another slot is not.
    """
    match effect:
        case StartSlot(slot=slot, release=release):
            return f"start {slot} {release}"
        case WarmSlot(slot=slot) | StopSlot(slot=slot) | ScaleSlot(slot=slot):
            return f"{step_kind(effect)} {slot}"
        case RunGate() | Publish() | SetWeights() | Remove() | SetAlias():
            return step_kind(effect)
        case _:
            assert_never(effect)
