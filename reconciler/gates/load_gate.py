"""The load gate: challenger against champion under the same open-loop load at the same time, and against the SLO.

Imports `loadtests`, the ports and its sibling `load`. The loop asks it between a warm challenger and the first traffic.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments.errors import SluiceError
from reconciler.core.canonical import Json
from reconciler.core.verdict import Verdict
from reconciler.ports import GateContext, GateEvidence, LiveCounts, SlotCounts

if TYPE_CHECKING:
    from loadtests.compare import Comparison
    from loadtests.engine import Abort, Hooks
    from loadtests.profile import Profile
    from loadtests.search import Capacity
    from loadtests.target import Target
    from reconciler.gates.load import LoadJudgement

GATE = "load"


class LoadGate:
    """A `reconciler.ports.Gate`. `settings` has `profile` (a file below `root`) and `max_regression` (a share)."""

    def check(self, settings: Mapping[str, Any], root: Path) -> None:
        """Read the profile.

        Raises:
            SluiceError: `LOAD-001` to `LOAD-007`.
        """
        from loadtests.profile_file import load_profile

        load_profile(root / settings["profile"])

    async def evidence(self, context: GateContext) -> GateEvidence:
        """Send the profile's load and judge what it showed; without a champion only the SLO can be judged.

        Raises:
            SluiceError: `LOAD-0xx` a bad profile, a target that does not answer, or one that may not be loaded.
        """
        profile = _profile(context)
        challenger = _target(context, "challenger", context.challenger_url)
        hooks = await _hooks(context, profile)
        if context.champion_url is None:
            return await _alone(context, profile, challenger, hooks)
        champion = _target(context, "champion", context.champion_url)
        return await _compared(context, profile, (champion, challenger), hooks)


async def measure_capacity(context: GateContext) -> tuple[Profile, Capacity]:
    """Search the highest rate at which the challenger's slot keeps the SLO; return it with the profile that was sent.

    Raises:
        SluiceError: `LOAD-030` the profile has no `search` block; `LOAD-031` the search was stopped before it had an
            answer: live users suffered, or the generator was late; others as `LoadGate.evidence`.
    """
    from loadtests.search import find_capacity

    profile = _profile(context)
    challenger, hooks = _target(context, "challenger", context.challenger_url), await _hooks(context, profile)
    found = await find_capacity(profile, challenger, folder=_path(context).parent, hooks=hooks)
    if found.bounded_by == "stopped":
        shown = f"; until then {found.rate_rps:g} requests/s kept the SLO" if found.rate_rps else ""
        raise SluiceError(
            "LOAD-031",
            where=str(context.address),
            what="the search was stopped before it had an answer",
            why=found.reason + shown,
            do="search again when that is over; what was recorded before stays",
            retryable=True,
        )
    return profile, found


async def _compared(context: GateContext, profile: Profile, arms: tuple[Target, Target], hooks: Hooks) -> GateEvidence:
    from loadtests.compare import compare
    from reconciler.gates.load import judge_load, settled

    limit = float(context.settings["max_regression"])
    decided: Callable[[Comparison], bool] = partial(settled, max_regression=limit)
    folder = _path(context).parent
    found = await compare(profile, champion=arms[0], challenger=arms[1], decided=decided, folder=folder, hooks=hooks)
    judged = judge_load(found, max_regression=limit)
    links = _write_reports(context, judged, found)
    return GateEvidence(GATE, str(judged.verdict), judged.sentence, figures=_figures(judged, found), links=links)


async def _alone(context: GateContext, profile: Profile, challenger: Target, hooks: Hooks) -> GateEvidence:
    from loadtests.engine import run_load
    from loadtests.result import result_of, slo_breaches

    run = await run_load(profile, (challenger,), folder=_path(context).parent, hooks=hooks)
    result = result_of(run)
    if run.outcome != "completed":
        why = f"the load ended early: {run.reason}"
        raise SluiceError(run.code or "LOAD-021", where=str(context.address), what=why)
    breaches = slo_breaches(result.arms[0], profile.slo)
    verdict = Verdict.FAIL if breaches else Verdict.PASS
    said = "; ".join(breaches) or "the challenger keeps the SLO; there is no champion to compare with"
    return GateEvidence(GATE, str(verdict), f"{said} ({result.arms[0].requests} requests)", figures=result.to_json())


def _profile(context: GateContext) -> Profile:
    """Return the gate's profile with the endpoint's promises laid over its own."""
    from loadtests.profile_file import load_profile

    profile = load_profile(_path(context))
    return profile.model_copy(update={"slo": profile.slo.model_copy(update=context.settings.get("slo", {}))})


def _path(context: GateContext) -> Path:
    """Return the profile's path; its folder is where a relative name in it begins."""
    return Path(context.root, context.settings["profile"])


def _target(context: GateContext, name: str, url: str) -> Target:
    from loadtests.target import checked_target

    allowed = [u for u in (context.challenger_url, context.champion_url) if u]
    return checked_target(url, allowed=allowed, model=context.address.endpoint, name=name)


async def _hooks(context: GateContext, profile: Profile) -> Hooks:
    """Return hooks that stop the load when the champion's own users suffer."""
    from loadtests.engine import Hooks

    before = await context.live()
    if before is None:
        return Hooks()
    return Hooks(abort=_abort(context.live, before, profile))


def _abort(live: LiveCounts, before: SlotCounts, profile: Profile) -> Abort:
    from loadtests.guard import LiveFigures, LiveWatch

    # Counters since the server started are the baseline; each window is the difference to the one before it.
    watch = LiveWatch(LiveFigures(before.requests, before.errors), profile.live_guard)
    last = before

    async def ask() -> str | None:
        nonlocal last
        now = await live()
        if now is None or now.epoch != last.epoch:
            return "the champion restarted"
        window = LiveFigures(now.requests - last.requests, now.errors - last.errors, waiting=now.waiting)
        last = now
        return watch.reason(window)

    return ask


def _figures(judged: LoadJudgement, found: Comparison) -> Json:
    """Return what the ledger keeps: every finding and metric, without the timelines of each round."""
    return {
        "findings": [{"name": f.name, "verdict": str(f.verdict), "sentence": f.sentence} for f in judged.findings],
        "metrics": [dataclasses.asdict(m) for m in found.metrics],
        "requests": found.requests,
        "rounds": len(found.rounds),
        "method": found.method,
    }


def _write_reports(context: GateContext, judged: LoadJudgement, found: Comparison) -> tuple[str, ...]:
    from loadtests.report import Case, html_report, junit_xml

    folder = Path(context.reports)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{context.rollout}-{context.address.region}-load"
    cases = [Case(f.name, str(f.verdict), f.sentence) for f in judged.findings]
    overall = Case("load", str(judged.verdict), judged.sentence)
    html, junit = folder / f"{stem}.html", folder / f"{stem}.xml"
    html.write_text(html_report(f"Load gate of {context.address}", overall, cases, comparison=found))
    junit.write_text(junit_xml(f"load {context.address}", cases))
    return str(html), str(junit)
