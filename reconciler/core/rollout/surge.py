"""How many servers each slot runs while traffic moves, as `rollout.surge` says. Pure.

`follow`: the challenger's servers grow with its share beside a whole champion, so a rollback is a weight at any moment.
`swap`: both slots together have the steady need and `surge_replicas` more; past what fits beside a whole champion the
challenger takes servers that the champion gives up, and a rollback by weight reaches as far as the champion's servers.
Where a slot keeps one server neither has anything to do.
"""

from __future__ import annotations

import math

from reconciler.core.model.verdict import Verdict
from reconciler.core.rollout.steps import Pause, Publish, RegionStep, ScaleSlot, SetWeights, Wait
from reconciler.core.rollout.traffic_split import converge, same_weights, wanted_weights
from reconciler.core.rollout.view import View

SWAP = "swap"
_ROUNDING = 1e-3  # of a server: a third of the traffic is one server of three


def servers_for(share_pct: float, steady: int) -> int:
    """Return how many of `steady` servers carry a share of the traffic: at least one."""
    return max(1, math.ceil(share_pct / 100 * steady - _ROUNDING))


def steady_need(view: View) -> int:
    """Return how many servers carry all of the traffic: what serves at present, or did when the rollout began."""
    return max(1, view.region.replicas, view.champion.wanted if view.champion else 0)


def first_servers(view: View) -> int:
    """Return how many servers the challenger starts with: those of its first share, or as many as fit beside."""
    settings, steady = view.rollout.settings, steady_need(view)
    if view.champion is None:
        return steady
    wanted = servers_for(settings.ladder[0] if settings.ladder else 100.0, steady)
    return min(wanted, settings.surge_replicas) if settings.surge == SWAP else wanted


def needs_proof(view: View, share_pct: float) -> bool:
    """Return whether a share takes servers from the champion, which may give them up only after the judge's PASS."""
    settings = view.rollout.settings
    swaps = settings.surge == SWAP and view.champion is not None
    return swaps and servers_for(share_pct, steady_need(view)) > settings.surge_replicas


def shift_to(view: View, share_pct: float) -> list[RegionStep]:
    """Return the steps that give the challenger its share with the servers that carry it; none when that is so."""
    if view.champion is not None and needs_proof(view, share_pct):
        return _swap(view, share_pct)
    need, name, slot = servers_for(share_pct, steady_need(view)), view.name, view.region.slot
    if view.challenger.wanted < need:
        return [ScaleSlot(name, slot, need)]
    moving = converge(view.rollout, view.region, view.observed, share_pct)
    rises = view.challenger.weight_pct < share_pct
    if rises and view.challenger.ready_count < need:
        return [_room(view, need)]
    return list(moving)


def take_back(view: View) -> list[RegionStep]:
    """Return the steps that give traffic back to the champion, as far as its servers carry it, and bring the others."""
    share = kept_pct(view)
    moving: list[RegionStep] = list(converge(view.rollout, view.region, view.observed, share))
    champion, steady = view.champion, steady_need(view)
    if moving or champion is None or champion.wanted >= steady or view.region.champion_slot is None:
        return moving
    ours = view.challenger
    if share > 0 and ours.wanted > servers_for(share, steady):
        return [ScaleSlot(view.name, view.region.slot, servers_for(share, steady))]
    room = steady + view.rollout.settings.surge_replicas - max(ours.wanted, len(ours.replicas))
    wanted = min(steady, room)
    return [ScaleSlot(view.name, view.region.champion_slot, wanted)] if wanted > champion.wanted else []


def kept_pct(view: View) -> float:
    """Return the share that the challenger keeps while it goes back: what the champion's servers cannot carry.

    Only where servers were swapped, and only what the challenger has and answers.
    """
    champion, challenger = view.champion, view.challenger
    if view.rollout.settings.surge != SWAP or champion is None or not challenger.ready:
        return 0.0
    missing = 100.0 * (1 - champion.ready_count / steady_need(view))
    return round(max(0.0, min(challenger.weight_pct, missing)), 3)


def _swap(view: View, share_pct: float) -> list[RegionStep]:
    """Return the next steps of a swap: weight as far as servers carry it, then servers from the one to the other."""
    steady, surge, slot = steady_need(view), view.rollout.settings.surge_replicas, view.region.slot
    ours, champion = view.challenger, view.champion
    if champion is None or view.region.champion_slot is None:
        return []
    share = round(min(share_pct, max(ours.weight_pct, 100.0 * ours.ready_count / steady)), 3)
    moving: list[SetWeights | Publish] = converge(view.rollout, view.region, view.observed, share)
    if moving:
        return list(moving)
    if same_weights(wanted_weights(view.region, view.observed, share_pct), view.observed):
        return []
    need = servers_for(share_pct, steady)
    wanted = min(need, steady + surge - max(champion.wanted, len(champion.replicas)))
    if ours.wanted < wanted:
        return [ScaleSlot(view.name, slot, wanted)]
    if ours.ready_count < ours.wanted:
        return [_room(view, ours.wanted)]
    left = max(servers_for(100.0 - share, steady), steady + surge - need)
    if champion.wanted > left:
        return [ScaleSlot(view.name, view.region.champion_slot, left)]
    return [_room(view, need)]


def _room(view: View, need: int) -> Wait | Pause:
    """Wait for servers, but not for ever: then a person is asked, for it may be capacity and not the release."""
    limit = view.rollout.settings.start_timeout_s
    have = view.challenger.ready_count
    words = f"{have} of {need} servers are ready for the next share"
    why = f"{words}: {view.challenger.problem}" if view.challenger.problem else words
    if view.elapsed_s >= limit:
        return Pause(view.name, Verdict.ERROR, f"{why}, after {limit:g} s")
    return Wait(view.name, why, limit - view.elapsed_s)
