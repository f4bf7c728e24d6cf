"""Follow the requests of two slots by their start: from a gateway's cohorts to the windows that a tick tells. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from reconciler.core.judge import Fates, StartWindow
from reconciler.core.slo_check import Unanswered
from reconciler.ports import Cohort

REMEMBERED_S = 1800.0  # what a gateway remembers at the least
SAME_PCT = 0.01  # a gateway splits into whole parts, so a third is not quite a third
BEFORE_S = 900.0  # how far before the first tick the champion's requests tell how long answers take

Key = tuple[float, str]
NOBODY = Fates(0, 0)


@dataclass(frozen=True)
class Window:
    """One window of one split as it was last read; `began_s` in epoch seconds."""

    began_s: float
    window_s: float
    weights: str
    champion: Fates = NOBODY
    challenger: Fates = NOBODY

    @property
    def key(self) -> Key:
        """Return what tells windows apart."""
        return self.began_s, self.weights

    @property
    def open(self) -> bool:
        """Say whether requests of it have not ended."""
        return any(fates.ended < fates.begun for fates in (self.champion, self.challenger))


@dataclass(frozen=True)
class Watched:
    """Whose requests are followed: the slots and releases of champion and challenger, and since when, in epoch seconds.

    Without a champion there is no slot of it. A gateway remembers what was in a slot before: of that, only what the
    champion answered while it had all the traffic tells of this rollout.
    """

    champion: str | None
    challenger: str
    champion_release: str | None
    challenger_release: str
    since_s: float

    def has(self, cohort: Cohort, of_challenger_pct: float) -> bool:
        """Say whether a cohort is of this rollout, in which the challenger's share is known."""
        if of_challenger_pct:
            since = cohort.began_s + cohort.window_s > self.since_s
            return since and _told_as(cohort, self.challenger, self.challenger_release)
        return _told_as(cohort, self.champion, self.champion_release)


@dataclass(frozen=True)
class Followed:
    """What is known: windows by key, and the challenger's weight in percent by the gateway's name for a split.

    A split whose weight is not known yet is held back: nobody could say what it may be compared with. `told` are the
    windows as a tick last told them.
    """

    windows: Mapping[Key, Window] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    told: Mapping[Key, Window] = field(default_factory=dict)

    def since_s(self, now: float) -> float:
        """Return from when on the gateway has to be asked: the oldest window that may still move."""
        if not self.windows:
            return now - BEFORE_S
        newest = max(window.began_s for window in self.windows.values())
        moving = [w.began_s for w in self.windows.values() if w.open or w.began_s + 2 * w.window_s > newest]
        return max(min(moving, default=newest), now - REMEMBERED_S)


def follow(
    followed: Followed,
    cohorts: Mapping[str, Iterable[Cohort]],
    *,
    watched: Watched,
    weight_pct: float,
    since_s: float,
) -> Followed:
    """Return what is known after another reading; `weight_pct` is the challenger's, in force since `since_s`."""
    windows, told = dict(followed.windows), dict[str, float]()
    for slot, arm in ((watched.champion, "champion"), (watched.challenger, "challenger")):
        for cohort in cohorts.get(slot, ()) if slot else ():
            share = cohort.weight_pct
            if share is not None and arm == "champion":
                share = 100.0 - share
            if share is not None and not watched.has(cohort, share):
                continue
            fates = Fates(cohort.begun, cohort.ended, cohort.errors, cohort.rejected)
            key = (_ms(cohort.began_s), cohort.weights)
            known = windows.get(key) or Window(key[0], cohort.window_s, cohort.weights)
            windows[key] = replace(known, champion=fates) if arm == "champion" else replace(known, challenger=fates)
            if share is not None:
                told[cohort.weights] = _as_known(share, weight_pct, followed.weights.get(cohort.weights))
    weights = {**_named(followed.weights, windows.values(), weight_pct, since_s), **told}
    return replace(followed, windows=windows, weights=weights)


def _told_as(cohort: Cohort, slot: str | None, release: str | None) -> bool:
    """Say whether a slot had a release then, as far as that is known."""
    return release in (None, cohort.releases.get(slot or "", release))


def _as_known(told_pct: float, *known: float | None) -> float:
    """Return the weight as it is known already, if a gateway's resolution is all that parts it from what was told."""
    return next((pct for pct in known if pct is not None and abs(pct - told_pct) < SAME_PCT), told_pct)


def moved(followed: Followed, began_s: float) -> tuple[tuple[StartWindow, ...], Followed]:
    """Return the windows that have moved since they were told, on the scale that begins at `began_s`, as told now."""
    found = {
        key: window
        for key, window in followed.windows.items()
        if window.weights in followed.weights and followed.told.get(key) != window
    }
    told = tuple(
        StartWindow(
            _ms(window.began_s - began_s),
            window.window_s,
            followed.weights[window.weights],
            window.champion,
            window.challenger,
            window.weights,
        )
        for _, window in sorted(found.items())
    )
    return told, _pruned(replace(followed, told={**followed.told, **found}))


def recalled(told: Iterable[StartWindow], began_s: float, followed: Followed) -> Followed:
    """Return what is known after the windows of a recorded tick, as a process that resumes takes them up."""
    windows = {
        (_ms(began_s + each.began_s), each.weights): Window(
            _ms(began_s + each.began_s), each.window_s, each.weights, each.champion, each.challenger
        )
        for each in told
    }
    weights = {each.weights: each.weight_pct for each in told}
    return Followed({**followed.windows, **windows}, {**followed.weights, **weights}, {**followed.told, **windows})


def under_present_weight(followed: Followed, weight_pct: float, since_s: float) -> tuple[int, int, int]:
    """Return of the requests that began since a weight is in force: all that ended, the challenger's, and its begun."""
    present = [
        window
        for window in followed.windows.values()
        if followed.weights.get(window.weights) == weight_pct and window.began_s + window.window_s > since_s
    ]
    ended = sum(window.champion.ended + window.challenger.ended for window in present)
    return ended, sum(w.challenger.ended for w in present), sum(w.challenger.begun for w in present)


def begun_since(followed: Followed, since_s: float) -> Fates:
    """Return what became of the challenger's requests that began in a bake, which is in force since `since_s`.

    Of a window that was open when the bake began, what its split sent counts: the one that sends the champion nothing.
    A short bake may see no window that is all its own.
    """
    shared = {window.weights for window in followed.windows.values() if window.champion.begun}
    chosen = [
        window.challenger
        for window in followed.windows.values()
        if window.began_s >= since_s or (window.began_s + window.window_s > since_s and window.weights not in shared)
    ]
    return Fates(*(sum(counts) for counts in zip(*chosen, strict=True))) if chosen else NOBODY


def unanswered_since(followed: Followed, since_s: float, now: float, age_s: float) -> Unanswered:
    """Return how many of the challenger's requests that began since then, and longer than `age_s` ago, are open."""
    old = [
        window.challenger
        for window in followed.windows.values()
        if window.began_s >= since_s and window.began_s + window.window_s + age_s <= now
    ]
    begun = sum(fates.begun for fates in old)
    return Unanswered(age_s, begun, begun - sum(fates.ended for fates in old))


def _named(
    weights: Mapping[str, float], windows: Iterable[Window], weight_pct: float, since_s: float
) -> dict[str, float]:
    """Return the weight of each split that can be guessed, where the gateway does not tell it.

    The split in force is the one of the newest window, once a window lies wholly in its time and no other split is in
    that window. One that never sent a request to the challenger gave it no weight, as far as anybody can tell: one that
    was in force for a moment looks the same, so that name goes once the challenger has a request of it.
    """
    listed = list(windows)
    sent = {window.weights for window in listed if window.challenger.begun}
    named = {split: weight for split, weight in weights.items() if weight or split not in sent}
    newest = max((window.began_s for window in listed), default=0.0)
    latest = {window.weights for window in listed if window.began_s == newest}
    if len(latest) == 1 and newest >= since_s:
        named.setdefault(latest.pop(), weight_pct)
    before = {window.weights for window in listed if window.began_s + window.window_s <= since_s}
    return {**dict.fromkeys(before - sent - set(named), 0.0), **named}


def _ms(at_s: float) -> float:
    """Return a time to the millisecond, so that a window is the same one after it was recorded."""
    return round(at_s, 3)


def _pruned(followed: Followed) -> Followed:
    """Return the same without windows that a gateway need not remember either."""
    newest = max((window.began_s for window in followed.windows.values()), default=0.0)
    kept = {key for key, window in followed.windows.items() if newest - window.began_s <= REMEMBERED_S}
    return replace(
        followed,
        windows={key: window for key, window in followed.windows.items() if key in kept},
        told={key: window for key, window in followed.told.items() if key in kept},
    )
