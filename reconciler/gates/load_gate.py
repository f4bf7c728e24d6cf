"""The load gate: challenger against champion under the same open-loop load at the same time, and against the SLO."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments.errors import SluiceError
from environments.files import readable_file
from environments.spec import RegistrySpec
from reconciler.core.canonical import Json
from reconciler.core.model.verdict import Verdict
from reconciler.gates.files import digest_of_files
from reconciler.gates.load_memory import recall, remember, subject_of
from reconciler.ports import OLD_S, GateContext, GateEvidence, GateProgress, LiveCounts, SlotCounts

if TYPE_CHECKING:
    from loadtests.compare import Sent
    from loadtests.engine import Abort, Hooks
    from loadtests.figures import Comparison
    from loadtests.profile import Profile
    from loadtests.search import Capacity
    from loadtests.target import Target
    from reconciler.gates.load import LoadJudgement

GATE = "load"
MAX_DURATION_S = 600.0
"""How long the rounds may take where the settings, of an older rollout, do not say."""


class LoadGate:
    """A `reconciler.ports.Gate`. `settings` has `profile` (a file below `root`), `max_regression` and `max_duration_s`.

    `max_regression` is a share. Rounds of the profile go on until the verdict is clear or `max_duration_s` is up.
    """

    def check(self, settings: Mapping[str, Any], root: Path) -> None:
        """Read the profile and its trace, and see that one round of it fits into the gate's time.

        Raises:
            SluiceError: `LOAD-001` to `LOAD-008`, `FILE-001` to `FILE-003`.
        """
        from loadtests.trace import read_trace

        profile = _read(root, settings)
        for trace in _traces(profile, readable_file(root, str(settings["profile"]))):
            read_trace(trace)
        round_s, most_s = profile.warmup_s + profile.duration_s, _most_s(settings)
        if round_s > most_s:
            raise SluiceError(
                "LOAD-008",
                where=str(settings["profile"]),
                what=f"one round takes {round_s:g} s, and the gate's max_duration_s is {most_s:g}",
                why="a gate that never ends a round has no evidence",
                do="raise max_duration_s, or lower the profile's duration_s",
            )

    def digest(self, settings: Mapping[str, Any], root: Path) -> str:
        """Return a digest over the profile's text and its trace. Raises as `check`."""
        profile, path = _read(root, settings), readable_file(root, str(settings["profile"]))
        return digest_of_files([path, *_traces(profile, path)])

    def remarks_without_champion(self, settings: Mapping[str, Any], root: Path) -> tuple[str, ...]:
        """Say that a load without any promise has nothing to say without a champion. Raises as `check`."""
        if settings.get("slo") or not _read(root, settings).slo.empty:
            return ()
        why = "the load gate will pause: no `slo` says what is good enough, and no champion serves yet"
        return (f"{why}; add `slo:` to the endpoint or to {settings['profile']}, or expect `sluice promote`",)

    async def evidence(self, context: GateContext) -> GateEvidence:
        """Send the profile's load and judge what it showed; without a champion only the SLO can be judged.

        Raises:
            SluiceError: `LOAD-0xx` a bad profile, a target that does not answer, or one that may not be loaded.
        """
        from loadtests.compare import Rounds, Terms, compare
        from reconciler.gates.load import judge_load, settled

        profile, sources = _profile(context)
        limit = float(context.settings["max_regression"])
        targets = [_target(context, "challenger", context.challenger_url)]
        if context.champion_url is not None:
            targets.insert(0, _target(context, "champion", context.champion_url))

        def decided(found: Comparison) -> bool:
            return settled(found, max_regression=limit)

        before = recall(_memory(context), _subject(context, profile)) or Rounds()
        found = await compare(
            profile,
            targets,
            terms=Terms(context.alpha, _most_s(context.settings)),
            decided=decided,
            folder=_path(context).parent,
            hooks=await _hooks(context, profile),
            told=partial(_tell, context),
            rounds=before,
        )
        found = dataclasses.replace(found, sources=sources)
        judged = judge_load(found, max_regression=limit)
        links = _write_reports(context, judged, found)
        if judged.verdict is Verdict.INCONCLUSIVE:
            remember(_memory(context), _subject(context, profile), before)
        return GateEvidence(GATE, str(judged.verdict), judged.sentence, figures=_figures(judged, found), links=links)


def build(registry: RegistrySpec) -> LoadGate:
    """Return the gate; `environments.gates` names this function."""
    return LoadGate()


async def measure_capacity(context: GateContext) -> tuple[Profile, Capacity]:
    """Search the highest rate at which the challenger's slot keeps the SLO; return it with the profile that was sent.

    Raises:
        SluiceError: `LOAD-030` the profile has no `search` block; `LOAD-031` the search was stopped before it had an
            answer: live users suffered, or the generator was late; others as `LoadGate.evidence`.
    """
    from loadtests.search import find_capacity

    profile, _ = _profile(context)
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


def _memory(context: GateContext) -> Path:
    return Path(context.reports) / f"{_stem(context)}.npz"


def _stem(context: GateContext) -> str:
    return f"{context.rollout}-{context.address.region}-load"


def _subject(context: GateContext, profile: Profile) -> str:
    champion = context.champion.id if context.champion and context.champion_url else None
    return subject_of(profile.model_dump(mode="json"), (champion, context.challenger.id))


def _tell(context: GateContext, sent: Sent) -> None:
    words = f"round {sent.round}, {sent.requests:,} requests an arm"
    context.progress(GateProgress(GATE, words, sent.elapsed_s, _most_s(context.settings)))


def _most_s(settings: Mapping[str, Any]) -> float:
    return float(settings.get("max_duration_s", MAX_DURATION_S))


def _read(root: Path, settings: Mapping[str, Any]) -> Profile:
    """Return the profile as it stands; it and a trace that it names lie where the environment may read.

    Raises:
        SluiceError: `LOAD-001` to `LOAD-005`, `FILE-001` to `FILE-003`.
    """
    from loadtests.profile_file import load_profile

    path = readable_file(root, str(settings["profile"]))
    profile = load_profile(path)
    for trace in _traces(profile, path):
        readable_file(root, str(trace))
    return profile


def _traces(profile: Profile, path: Path) -> tuple[Path, ...]:
    """Return the recorded arrivals that a profile names, relative to itself."""
    from loadtests.profile import Trace

    return (path.parent / profile.arrivals.file,) if isinstance(profile.arrivals, Trace) else ()


def _profile(context: GateContext) -> tuple[Profile, dict[str, str]]:
    """Return the gate's profile with the endpoint's promises laid over its own, and where each promise stands."""
    profile = _read(Path(context.root), context.settings)
    ours, theirs = context.settings.get("slo", {}), profile.slo.model_dump(exclude_none=True)
    endpoint = f"endpoints.{context.address.endpoint}.slo"
    sources = {name: f"the profile's slo.{name}" for name in theirs}
    for name, limit in ours.items():
        over = f", over {theirs[name]:g} in the profile" if theirs.get(name, limit) != limit else ""
        sources[name] = f"{endpoint}.{name}{over}"
    return profile.model_copy(update={"slo": profile.slo.model_copy(update=ours)}), sources


def _path(context: GateContext) -> Path:
    """Return the profile's path; its folder is where a relative name in it begins."""
    return readable_file(Path(context.root), str(context.settings["profile"]))


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
        if now.age_s > OLD_S:
            return f"nobody sees how the champion's users fare: its counts are {now.age_s:.0f} s old"
        window = LiveFigures(now.requests - last.requests, now.errors - last.errors, waiting=now.waiting)
        last = now
        return watch.reason(window)

    return ask


def _figures(judged: LoadJudgement, found: Comparison) -> Json:
    """Return what the ledger keeps: every finding and metric, without the timelines of each round."""
    from loadtests.figures import finite

    return {
        "findings": [{"name": f.name, "verdict": str(f.verdict), "sentence": f.sentence} for f in judged.findings],
        "metrics": finite([dataclasses.asdict(m) for m in found.metrics]),
        "slo": finite([dataclasses.asdict(s) for s in found.slo]),
        "requests": found.requests,
        "rounds": found.looks,
        "left_out": dataclasses.asdict(found.left_out),
        "method": found.method,
    }


def _write_reports(context: GateContext, judged: LoadJudgement, found: Comparison) -> tuple[str, ...]:
    from loadtests.report import Case, html_report, junit_xml

    folder = Path(context.reports)
    folder.mkdir(parents=True, exist_ok=True)
    stem = _stem(context)
    cases = [Case(f.name, str(f.verdict), f.sentence) for f in judged.findings]
    overall = Case("load", str(judged.verdict), judged.sentence)
    html, junit = folder / f"{stem}.html", folder / f"{stem}.xml"
    html.write_text(html_report(f"Load gate of {context.address}", overall, cases, comparison=found))
    junit.write_text(junit_xml(f"load {context.address}", cases))
    return str(html), str(junit)
