"""A step in words, for ledger, progress and plans. Pure."""

from __future__ import annotations

from reconciler.core.rollout.steps import (
    Enter,
    Finish,
    Pause,
    Publish,
    RunGate,
    ScaleSlot,
    SetAlias,
    SetWeights,
    StartSlot,
    Step,
    WarmSlot,
    step_kind,
)


def describe(step: Step) -> str:
    """Return what a step does."""
    match step:
        case SetWeights(weights=weights):
            return "weights " + ", ".join(f"{slot} {pct:g} %" for slot, pct in weights)
        case StartSlot(slot=slot, release=release, role=role, replicas=count):
            return f"start {role} {release} in slot {slot}" + (f" with {count} servers" if count > 1 else "")
        case ScaleSlot(slot=slot, replicas=count):
            return f"slot {slot} with {count} server{'s' if count > 1 else ''}"
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
        case SetAlias(ref=ref, aliases=aliases):
            return f"alias {', '.join(aliases)} -> {ref}"
        case _:
            facts = {k: v for k, v in vars(step).items() if k != "region" and v is not None}
            return " ".join([step_kind(step), *(f"{k}={v}" for k, v in facts.items())])
