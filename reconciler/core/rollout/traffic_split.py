"""How traffic and prompts are split between champion and challenger, and the steps that make it so. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.model.observed import ObservedEndpoint
from reconciler.core.model.release import Release
from reconciler.core.model.rollout import RegionRollout, Rollout
from reconciler.core.rollout.steps import Publish, SetWeights

Shares = tuple[tuple[str, float], ...]
_ROUNDING_PCT = 1e-6


def converge(
    rollout: Rollout, region: RegionRollout, observed: ObservedEndpoint, pct: float
) -> list[SetWeights | Publish]:
    """Return the steps that give the challenger `pct` percent of traffic and of users; none when that is so.

    A gateway that is gone is brought back by the same weights. Without a champion the challenger gets everything.
    Weights come first: prompts that cannot be published never keep traffic where it is.
    """
    share = pct if region.champion_slot is not None else 100.0
    wanted = wanted_weights(region, observed, share)
    steps: list[SetWeights | Publish] = []
    if observed.gateway_problem or not same_weights(wanted, observed):
        steps.append(SetWeights(region.region, tuple(sorted(wanted.items())), share))
    if observed.pointer_problem or not same_prompts(wanted_prompts(rollout, region, share), observed):
        steps.append(Publish(region.region, share))
    return steps


def wanted_weights(region: RegionRollout, observed: ObservedEndpoint, share_pct: float) -> dict[str, float]:
    """Return the weights of all slots in percent when the challenger has `share_pct`."""
    wanted = dict.fromkeys(observed.slots, 0.0) | {region.slot: share_pct}
    if region.champion_slot is not None and region.champion_slot != region.slot:
        wanted[region.champion_slot] = 100.0 - share_pct
    return wanted


def same_weights(wanted: Mapping[str, float], observed: ObservedEndpoint) -> bool:
    """Return whether the gateway splits as wanted, as finely as it can."""
    live = observed.weights
    step = observed.weight_resolution_pct
    return all(_close(wanted.get(slot, 0.0), live.get(slot, 0.0), step) for slot in {*wanted, *live})


def same_prompts(wanted: Mapping[str, Shares], observed: ObservedEndpoint) -> bool:
    """Return whether prompts are published as wanted, as finely as the publisher can; shares of zero do not count."""
    if set(wanted) != set(observed.prompts):
        return False
    step = observed.prompt_resolution_pct
    for name, shares in wanted.items():
        ours, live = dict(shares), dict(observed.prompts[name])
        if not all(_close(ours.get(id, 0.0), live.get(id, 0.0), step) for id in {*ours, *live}):
            return False
    return True


def wanted_prompts(rollout: Rollout, region: RegionRollout, share_pct: float) -> dict[str, Shares]:
    """Return for every prompt the releases that its users are drawn from, as `(release id, percent)`."""
    drawn = drawn_releases(rollout, region, share_pct)
    shares = tuple((release.id, pct) for release, pct in drawn)
    return dict.fromkeys(sorted({name for release, _ in drawn for name in release.prompts}), shares)


def drawn_releases(rollout: Rollout, region: RegionRollout, share_pct: float) -> tuple[tuple[Release, float], ...]:
    """Return the releases that users are drawn from with their shares, challenger first, without shares of zero.

    One draw decides model and prompts of a user: whoever is drawn for a release gets all of it.
    """
    if region.champion is None or region.champion.id == rollout.challenger.id:
        return ((rollout.challenger, 100.0),)
    both = ((rollout.challenger, share_pct), (region.champion, 100.0 - share_pct))
    return tuple((release, pct) for release, pct in both if pct > 0)


def _close(wanted: float, live: float, step_pct: float) -> bool:
    """Return whether two shares are the same one: equal to half a step of whoever holds them.

    Nothing and everything are exact, however coarse the steps: a slot that shall have no traffic has none.
    """
    half = 0.0 if wanted in (0.0, 100.0) else step_pct / 2
    return abs(wanted - live) <= half + _ROUNDING_PCT
