"""Turns scores into one of the four verdicts and sentences that a person can act on. Pure.

Three kinds of demand, and what is certain about each:
- `max_drop`: champion against challenger on the same cases, with the bounds of `paired` when the cases are a sample
  (`population: prompts`). Equal answers on few cases rule out little: it takes 149 equal pairs to rule out a drop of
  2 % with 95 % confidence, so a smaller suite says INCONCLUSIVE and names that number. Where the cases are a complete
  list (`population: cases`) there is nothing to infer: the drop that was seen is the drop.
  What convicts is as sure as `alpha` says, shared among the demands that can convict by chance.
- `thresholds` and `max_loss`: what this suite has to score. They are promises about the suite, so they have no bounds.
- `slices`: the gap between the best and the worst tag, FAIL only when chance does not explain it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from reconciler.core.canonical import Json
from reconciler.core.model.verdict import Verdict, fold
from reconciler.gates.eval.paired import METHOD, Bounds, Sure, above, bounded, cases_needed, exactly
from reconciler.gates.eval.perturb import ORIGINAL
from reconciler.gates.eval.scoring import Scored
from reconciler.gates.eval.suite import Slices, Suite

_NAMED_MAX = 5
_ROUNDING = 1e-9
_WORST_FIRST = (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.PASS)


@dataclass(frozen=True)
class Finding:
    """The verdict on one demand, with the sentence for it and the figures behind it."""

    name: str
    verdict: Verdict
    sentence: str
    figures: Json = field(default_factory=dict)


@dataclass(frozen=True)
class EvalJudgement:
    """The verdict of the eval gate. `findings` has one entry for each demand, worst first."""

    verdict: Verdict
    sentence: str
    findings: tuple[Finding, ...]


def judge_eval(
    suite: Suite, challenger: Sequence[Scored], champion: Sequence[Scored] | None, *, max_drop: float, alpha: float
) -> EvalJudgement:
    """Return the verdict on the challenger; without a champion only the absolute demands count.

    Both arms must be complete. A suite that demands nothing of a challenger without a champion is INCONCLUSIVE.
    `alpha` is the most chance with which a challenger that is no worse may FAIL.
    """
    share = alpha / (1 + len(suite.slices))
    findings = [
        *_drop(suite, challenger, champion, max_drop, Sure(1 - share, suite.confidence)),
        *_thresholds(suite, challenger, champion),
        *(_slices(suite, name, slices, challenger, share) for name, slices in suite.slices.items()),
        *_robustness(suite, challenger),
    ]
    ordered = tuple(sorted(findings, key=lambda finding: _WORST_FIRST.index(finding.verdict)))
    verdict = fold(finding.verdict for finding in ordered)
    return EvalJudgement(verdict, _sentence(verdict, ordered, suite, len(challenger)), ordered)


def case_shares(scored: Sequence[Scored]) -> dict[str, float]:
    """Return case → share of its answers that passed, over copies and repeats."""
    by_case: dict[str, list[bool]] = {}
    for each in scored:
        by_case.setdefault(each.answer.question.case, []).append(each.passed)
    return {case: sum(passed) / len(passed) for case, passed in by_case.items()}


def scorer_shares(scored: Sequence[Scored]) -> dict[str, float]:
    """Return scorer → share of its scores that are good."""
    by_scorer: dict[str, list[bool]] = {}
    for each in scored:
        for name, score in each.scores.items():
            by_scorer.setdefault(name, []).append(score.passed)
    return {name: sum(passed) / len(passed) for name, passed in sorted(by_scorer.items())}


def _moved(suite: Suite, bounds: Bounds, sure: Sure) -> str:
    """Say what was lost; a gain is called one where no range follows, which speaks of drops."""
    if bounds.value < 0 and suite.population == "cases":
        return f"a gain of {_points(-bounds.value)}"
    return f"a drop of {_points(bounds.value)}{_range(suite, bounds, sure)}"


def _drop(
    suite: Suite, challenger: Sequence[Scored], champion: Sequence[Scored] | None, max_drop: float, sure: Sure
) -> Iterator[Finding]:
    if champion is None:
        return
    ours, theirs = case_shares(challenger), case_shares(champion)
    drops = {case: theirs[case] - ours[case] for case in theirs}
    bounds = _bounds(suite, list(drops.values()), sure)
    lost = sorted(case for case, drop in drops.items() if drop > 0)
    gained = sorted(case for case, drop in drops.items() if drop < 0)
    told = (
        f"the challenger passes {_mean(ours):.1%} of {len(ours)} cases, the champion {_mean(theirs):.1%}: "
        f"{_moved(suite, bounds, sure)}, {_points(max_drop)} of drop are allowed"
        f"{_named('lost', lost)}"
    )
    figures: Json = asdict(bounds) | {
        "max_drop": max_drop,
        "confidence": suite.confidence,
        "alpha": 1 - sure.convicts,
        "method": METHOD if suite.population == "prompts" else "the cases are the population: no interval",
        "lost": lost,
        "gained": gained,
    }
    beyond = above(bounds, max_drop)
    if beyond is not None:
        yield Finding("drop", Verdict.FAIL if beyond else Verdict.PASS, told, figures)
        return
    needed = cases_needed(list(drops.values()), sure, max_drop)
    yield Finding("drop", Verdict.INCONCLUSIVE, f"{told}; {_more(needed, len(ours))}", figures | {"needed": needed})


def _more(needed: int | None, cases: int) -> str:
    if needed is None:
        return f"{cases} cases are too few to tell, and the drop lies on the limit, so that more would hardly decide it"
    return f"{cases} cases are too few to tell: about {needed:,} that go like these would do"


def _thresholds(suite: Suite, challenger: Sequence[Scored], champion: Sequence[Scored] | None) -> Iterator[Finding]:
    shares, theirs = scorer_shares(challenger), scorer_shares(champion or ())
    for name, wanted in sorted(suite.thresholds.items()):
        kept = shares[name] >= wanted - _ROUNDING
        too = not kept and name in theirs and theirs[name] < wanted - _ROUNDING
        said = f"{name} is content with {shares[name]:.1%}, the suite demands {wanted:.1%}"
        said += f"; the champion misses it too with {theirs[name]:.1%}" if too else ""
        figures: Json = {"value": shares[name], "threshold": wanted, "champion": theirs.get(name)}
        yield Finding(f"threshold {name}", Verdict.PASS if kept else Verdict.FAIL, said, figures)


def _slices(suite: Suite, name: str, slices: Slices, challenger: Sequence[Scored], alpha: float) -> Finding:
    """Compare tags by their best and worst share; each side of each bound has its part of the error (Bonferroni)."""
    shares = case_shares(challenger)
    values = {tag: [shares[case.id] for case in suite.cases if tag in case.tags] for tag in slices.tags}
    each = 1 - alpha / (2 * len(values))
    bounds = {tag: _bounds(suite, list(found), Sure(each, each), floor=0.0) for tag, found in values.items()}
    worst, *_, best = sorted(bounds, key=lambda tag: (bounds[tag].value, tag))
    gap = bounds[best].value - bounds[worst].value
    surely = max(bound.low for bound in bounds.values()) - min(bound.high for bound in bounds.values())
    told = (
        f"{name}: {bounds[best].value:.1%} of {bounds[best].cases} cases pass with {best}, "
        f"{bounds[worst].value:.1%} of {bounds[worst].cases} with {worst}: {_points(gap)} apart, "
        f"{_points(slices.max_gap)} are allowed"
    )
    figures: Json = {"gap": gap, "max_gap": slices.max_gap, "slices": {tag: asdict(b) for tag, b in bounds.items()}}
    if gap <= slices.max_gap + _ROUNDING:
        return Finding(f"slices {name}", Verdict.PASS, told, figures)
    if surely > slices.max_gap + _ROUNDING:
        return Finding(f"slices {name}", Verdict.FAIL, told, figures)
    why = f"{told}; with so few cases a tag this may be chance: more cases would tell"
    return Finding(f"slices {name}", Verdict.INCONCLUSIVE, why, figures)


def _robustness(suite: Suite, challenger: Sequence[Scored]) -> Iterator[Finding]:
    """Compare originals with their disturbed copies, over the cases that have copies."""
    limit = suite.perturbations.max_loss
    copied = {s.answer.question.case for s in challenger if s.answer.question.variant != ORIGINAL}
    if limit is None:
        return
    there = [s for s in challenger if s.answer.question.case in copied]
    if not there:
        why = "no input could be disturbed, so nothing is known of robustness"
        yield Finding("robustness", Verdict.INCONCLUSIVE, why)
        return
    plain = case_shares([s for s in there if s.answer.question.variant == ORIGINAL])
    copies = case_shares([s for s in there if s.answer.question.variant != ORIGINAL])
    loss = _mean(plain) - _mean(copies)
    told = (
        f"{_mean(copies):.1%} of disturbed inputs pass, {_mean(plain):.1%} of their originals: "
        f"a loss of {_points(loss)}, {_points(limit)} are allowed"
    )
    verdict = Verdict.PASS if loss <= limit + _ROUNDING else Verdict.FAIL
    yield Finding("robustness", verdict, told, {"loss": loss, "max_loss": limit})


def _bounds(suite: Suite, values: Sequence[float], sure: Sure, *, floor: float = -1.0) -> Bounds:
    return exactly(values) if suite.population == "cases" else bounded(values, sure, floor=floor)


def _mean(shares: Mapping[str, float]) -> float:
    return math.fsum(shares.values()) / len(shares)


def _points(share: float) -> str:
    return f"{share * 100:.1f} points"


def _range(suite: Suite, bounds: Bounds, sure: Sure) -> str:
    if suite.population == "cases":
        return ""
    low, high = (f"{value * 100:.1f}" for value in (bounds.low, bounds.high))
    return f" (between {low}, {sure.convicts * 100:.5g}% sure, and {high}, {sure.acquits * 100:.5g}% sure)"


def _named(what: str, cases: Sequence[str]) -> str:
    if not cases:
        return ""
    more = f" and {len(cases) - _NAMED_MAX} more" if len(cases) > _NAMED_MAX else ""
    return f"; {what}: {', '.join(cases[:_NAMED_MAX])}{more}"


def _sentence(verdict: Verdict, findings: Sequence[Finding], suite: Suite, answers: int) -> str:
    of = f"suite {suite.suite} version {suite.version}, {answers:,} answers an arm"
    if not findings:
        why = "nothing is demanded and there is no champion to compare with"
        return f"{why}: add `thresholds:` to the suite, or let a person decide with `sluice promote` ({of})"
    told = [finding.sentence for finding in findings if finding.verdict is verdict]
    if verdict is Verdict.PASS:  # the comparison comes first; what holds besides is in the findings
        more = len(told) - 1
        told = [told[0], f"{more} more demand{'s hold' if more > 1 else ' holds'}"] if more else told
    return f"{'; '.join(told)} ({of})"
