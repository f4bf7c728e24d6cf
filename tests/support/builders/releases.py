"""Releases, endpoints and rollouts for tests of the core, made from one word each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from environments.names import Address
from reconciler.core.model.desired import DesiredEndpoint, DesiredState
from reconciler.core.model.observed import ObservedEndpoint, ObservedSlot, Replica, ServerState, one_server
from reconciler.core.model.release import Artifact, Release
from reconciler.core.model.rollout import Rollout
from reconciler.core.model.settings import RolloutSettings
from reconciler.core.rollout.begin import new_rollout

ENVIRONMENT = "test"
SETTINGS = RolloutSettings(steps_pct=(10.0, 50.0), step_min_s=4, step_max_s=60, bake_s=10, slo={"error_rate": 0.01})


def release(word: str, *, prompt: str | None = None, endpoint: str = "chat") -> Release:
    """Return a release whose model is called `word`."""
    prompts = {"system": Artifact(f"file:{prompt}", f"sha256:{prompt}")} if prompt else {}
    texts = {"system": f"text of {prompt}"} if prompt else {}
    model = Artifact(f"file:models/{word}", f"sha256:{word}")
    return Release(endpoint=endpoint, runtime="vllm", model=model, prompts=prompts, prompt_texts=texts)


def slot(
    held: Release | None,
    *,
    ready: bool = False,
    warm: bool = False,
    weight_pct: float = 0.0,
    started: bool = False,
    running: bool = True,
    fatal: bool = False,
    restarts: int = 0,
    problem: str | None = None,
    url: str | None = "http://x",
    displaced: bool = False,
) -> ObservedSlot:
    """Return a slot with one server that does what the words say."""
    if held is None:
        return ObservedSlot(weight_pct=weight_pct, damage=problem)
    state = ServerState.STARTING
    for said, meant in (
        (restarts > 0, ServerState.RESTARTING),
        (started, ServerState.SILENT),
        (ready, ServerState.READY),
        (fatal, ServerState.WRONG_MODEL),
        (not running, ServerState.DEAD),
    ):
        state = meant if said else state
    return one_server(held, Replica("0", state, warm, restarts, problem, url, displaced), weight_pct=weight_pct)


def changed(seen: ObservedSlot, **facts: Any) -> ObservedSlot:
    """Return a slot of one server with some of what `slot` takes changed."""
    kept = ("ready", "warm", "weight_pct", "started", "running", "fatal", "restarts", "displaced")
    known = {name: getattr(seen, name) for name in kept} if seen.release else {"weight_pct": seen.weight_pct}
    held = facts.pop("release", seen.release)
    return slot(held, **{**known, **facts})


def endpoint(
    slots: Mapping[str, tuple[Release | None, float]], *, region: str = "local", name: str = "chat", ready: bool = True
) -> ObservedEndpoint:
    """Return an endpoint with `(release, weight)` by slot, ready and warm, its prompts published as the weights are."""
    seen = {
        name: slot(held, ready=ready, warm=ready, weight_pct=weight) if held else ObservedSlot()
        for name, (held, weight) in slots.items()
    }
    serving = [held for held, weight in slots.values() if held and weight == 100]
    prompts = dict.fromkeys(serving[0].prompts, ((serving[0].id, 100.0),)) if serving else {}
    return ObservedEndpoint(Address(ENVIRONMENT, region, name), seen, prompts)


def desired(
    wanted: Release, *, regions: tuple[str, ...] = ("local",), settings: RolloutSettings = SETTINGS
) -> DesiredState:
    """Return a desired state in which each region is a wave of its own."""
    made = [
        DesiredEndpoint(Address(ENVIRONMENT, region, wanted.endpoint), wave, wanted, settings, "team", None, 0)
        for wave, region in enumerate(regions)
    ]
    return DesiredState(ENVIRONMENT, tuple(sorted(made, key=lambda d: d.address)))


def rollout(
    challenger: Release, live: Mapping[str, ObservedEndpoint], *, settings: RolloutSettings = SETTINGS
) -> Rollout:
    """Return the rollout that takes `challenger` to the regions in `live`, one wave each, begun at 0."""
    wanted = desired(challenger, regions=tuple(live), settings=settings)
    return new_rollout("r1", wanted.endpoints, {e.address: e for e in live.values()}, now=0.0, actor="test")
