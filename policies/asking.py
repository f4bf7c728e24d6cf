"""Ask one policy and take what comes of it as findings: a rule that breaks says no and stops nothing else. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from environments.policies import LEVELS_RISING, Level
from environments.redact import redact
from environments.spec import EnvironmentSpec
from policies.policy import Hit, NotKnown, Policy, Unasked
from reconciler.core.model.finding import Finding

RAISED, UNASKED = "POL-003", "POL-004"
_SHOWN = 300


def findings_of(policy: Policy, spec: EnvironmentSpec, check: Callable[[], Iterable[Hit]]) -> Iterator[Finding]:
    """Yield what a policy finds, at its level here; nothing when it is off.

    A rule that raises is a finding `POL-003` that denies: nothing has said that the plan keeps it. One that could not
    be asked is `POL-004` at its own level.
    """
    level = policy.level(spec)
    if level == "off":
        return
    try:
        found = [_checked(hit) for hit in check()]
    except Exception as error:  # noqa: BLE001 - a rule may raise anything, and must not take the others with it
        yield Finding(RAISED, "deny", spec.environment, _raised(policy, error))
        return
    for address, message in found:
        yield _finding(policy, level, address or spec.environment, message)


def _checked(hit: Hit) -> Hit:
    address, message = hit
    if not isinstance(address, str) or not isinstance(message, str):
        raise TypeError(f"it yielded {type(address).__name__} and {type(message).__name__} where two texts are due")
    return hit


def raised_words(policy: Policy, error: Exception) -> str:
    """Return which policy raised what, without secrets and short."""
    words = redact(str(error)) or "without a word"
    return f"{policy.id} raised {type(error).__name__}: {words[:_SHOWN]}"


def _raised(policy: Policy, error: Exception) -> str:
    where = "the environment file" if "/" in policy.id else "policies/"
    return (
        f"{raised_words(policy, error)}; it has judged nothing, so it denies. "
        f"Correct the rule in {where}, or set {policy.id}: off with a reason until then"
    )


def _finding(policy: Policy, level: Level, address: str, message: str) -> Finding:
    match message:
        case Unasked():
            return Finding(UNASKED, level, address, f"{policy.id} could not be asked: {message}")
        case NotKnown() if policy.unknown:
            return Finding(policy.id, min(level, policy.unknown, key=LEVELS_RISING.index), address, str(message))
        case _:
            return Finding(policy.id, level, address, str(message))
