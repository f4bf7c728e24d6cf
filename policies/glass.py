"""Break-glass: what an emergency lets pass, until when, and what is said of it in every output. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from environments.policies import BreakGlassSpec
from environments.spec import EnvironmentSpec
from reconciler.core.model.finding import Finding

OPEN, EXPIRED = "POL-005", "POL-006"


def through_glass(findings: Iterable[Finding], spec: EnvironmentSpec, now: datetime | None) -> set[Finding]:
    """Return the findings as break-glass leaves them: what it names warns where it would deny.

    One that has expired lets nothing pass and denies; `now` of None, which is no moment, lets nothing pass either.
    """
    glass, found = spec.break_glass, set(findings)
    if glass is None:
        return found
    if now is not None and now >= glass.until:
        return found | {Finding(EXPIRED, "deny", spec.environment, _expired(glass))}
    passed = {f for f in found if f.level == "deny" and f.policy in glass.policies} if now else set()
    loud = Finding(OPEN, "warn", spec.environment, f"{_said(glass)}. {_passes(passed)}")
    return (found - passed) | {_let_pass(f, glass) for f in passed} | {loud}


def let_pass(findings: Iterable[Finding], spec: EnvironmentSpec) -> tuple[str, ...]:
    """Return the policies that would have denied, had break-glass not been open; sorted."""
    mark = _mark(spec.break_glass) if spec.break_glass else None
    return tuple(sorted({f.policy for f in findings if mark and f.message.endswith(mark)}))


def _let_pass(finding: Finding, glass: BreakGlassSpec) -> Finding:
    return replace(finding, level="warn", message=f"{finding.message}{_mark(glass)}")


def _mark(glass: BreakGlassSpec) -> str:
    return f" (denied but for break-glass of {glass.who} until {_moment(glass.until)})"


def _passes(passed: Iterable[Finding]) -> str:
    names = sorted({f.policy for f in passed})
    return f"Without it this would be denied by {', '.join(names)}" if names else "It lets nothing pass at present"


def _said(glass: BreakGlassSpec) -> str:
    about = ", ".join(sorted(glass.policies))
    return f"break-glass of {glass.who} until {_moment(glass.until)} over {about}: {glass.reason}"


def _expired(glass: BreakGlassSpec) -> str:
    return f"{_said(glass)}. It has expired: remove `break_glass` from the file, or let somebody renew it in review"


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%MZ")
