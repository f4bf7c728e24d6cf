"""Whole rollouts on the platform `kubernetes`: planner, applier, ledger and a real control plane with fake machines.

Nobody can send requests to a fake machine: what proxies and servers count, and warm-up, are a stand-in's
(`tests/support/kubernetes/flow.py`). Everything else is what production runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from environments.load import load
from environments.names import GPU_RESOURCE
from policies.catalog import known_ids
from reconciler.compose import steady_clock
from reconciler.core.model.rollout import Phase
from reconciler.core.plan.plan import Plan, Scope
from reconciler.engine.apply import Applier, Outcome
from reconciler.engine.loop import Snapshot
from reconciler.planning.planner import Planner
from reconciler.platforms.kubernetes.scalers import PAUSED_AT
from reconciler.pointers.flagd import FlagdPointers
from reconciler.ports import Store, read_all
from reconciler.ports.adapters import Adapters, Region
from reconciler.store.connect import open_store
from tests.support.builders.declared import FAST, Contents
from tests.support.kubernetes.api import Body
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.flow import Flow, FlowRuntime, FlowStats
from tests.support.kubernetes.scaling import Keda
from tests.support.kubernetes.world import REGION, KubernetesWorld, on_a_cluster
from tests.support.worlds import until

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("kubernetes")]
QUICK: dict[str, Any] = {
    **FAST,
    "step_min_s": 0.5,
    "step_max_s": 60,
    "bake_s": 1,
    "start_timeout_s": 30,
    "judge": {**FAST["judge"], "tick_s": 0.5},
}


@dataclass
class Rig:
    """An environment file over a cluster: change what is declared, plan and apply."""

    world: KubernetesWorld
    flow: Flow
    home: Path
    store: Store
    registry: Contents = field(default_factory=Contents)
    messages: list[str] = field(default_factory=list)

    def declare(self, model: str, *, replicas: int = 2, **rollout: Any) -> None:
        """Declare that the endpoint serves a model."""
        known = next(iter(self.world.declared["endpoints"].values()))
        chat = known | {
            "replicas": {"min": replicas, "max": 8},
            "slo": {"error_rate": 0.05},
            "release": {"model": f"mlflow:{model}/1"},
            "rollout": QUICK | rollout,
        }
        self.world.declared["endpoints"] = {"chat": chat}

    def planner(self) -> Planner:
        """Return the planner of what is declared now."""
        folder = self.home / "environments"
        folder.mkdir(exist_ok=True)
        path = folder / "test.yaml"
        path.write_text(yaml.safe_dump(self.world.declared))
        loaded = load(path, environ={}, policy_ids=known_ids())
        regions, runtimes = self.adapters().regions, {"vllm": FlowRuntime(self.flow)}
        return Planner(loaded, self.store, self.registry, regions, {}, runtimes=runtimes, gates={})

    def adapters(self) -> Adapters:
        """Return what a loop works with."""
        platform = self.world.platform
        region = Region(REGION, platform, FlagdPointers(self.home), platform, {"vllm": FlowRuntime(self.flow)})
        home = str(self.home)
        return Adapters(self.store, self.registry, {REGION: region}, {}, steady_clock(), home, home)

    async def plan(self) -> Plan:
        """Return a plan."""
        return await self.planner().plan(Scope(), now=steady_clock()())

    async def apply(self, plan: Plan | None = None, watch: Any = lambda snapshot: None) -> Outcome:
        """Apply what is declared while requests flow."""
        applier = Applier(self.adapters(), self.planner(), watch=watch, message=self.messages.append)
        async with self.flow.through(self.world):
            (outcome,) = await applier.apply(plan or await self.plan())
        return outcome

    async def serving(self) -> dict[str, float]:
        """Return the share of traffic by model."""
        (endpoint,) = await read_all(self.world.platform, ["chat"])
        return {s.release.model.ref: s.weight_pct for s in endpoint.slots.values() if s.release and s.weight_pct}


@pytest.fixture(name="rig")
async def rig_on_a_cluster(cluster: ControlPlane, tmp_path: Path) -> AsyncIterator[Rig]:
    """Return a cluster that serves `one` with two servers."""
    flow = Flow()
    async with on_a_cluster(cluster, stats=lambda client: FlowStats(flow)) as world:
        store: Store = open_store("sqlite:///store.db", home=tmp_path / ".sluice", root=tmp_path)
        found = Rig(world, flow, tmp_path, store)
        found.declare("one")
        first = await found.apply()
        assert first.good, first
        yield found
        await store.close()


async def test_a_good_challenger_is_promoted_with_servers_before_weight(rig: Rig) -> None:
    rig.declare("two")
    plan = await rig.plan()
    assert [f for f in plan.findings if f.level == "deny"] == []
    counted: list[tuple[float, int]] = []

    def watch(snapshot: Snapshot) -> None:
        for seen in snapshot.observed.values():
            counted.append((seen.slots["b"].weight_pct, seen.slots["b"].ready_count))

    outcome = await rig.apply(plan, watch)
    assert outcome.rollout is not None
    assert outcome.rollout.phase is Phase.PROMOTED, outcome
    assert await rig.serving() == {"mlflow:two/1": 100.0}
    assert [w["b"] for w in rig.flow.weights_seen if w["b"]] == [10.0, 50.0, 100.0]
    assert all(ready >= (2 if weight > 50 else 1) for weight, ready in counted if weight)
    assert len(rig.flow.warmed) >= 3, "each server by itself"
    assert not (await rig.plan()).pending


async def test_a_failing_challenger_is_rolled_back_and_its_servers_go(rig: Rig) -> None:
    rig.flow.bad["mlflow:bad/1"] = 0.3
    rig.declare("bad")
    outcome = await rig.apply()
    assert outcome.rollout is not None
    assert outcome.rollout.phase is Phase.ROLLED_BACK, outcome
    assert "error" in outcome.rollout.reason
    assert await rig.serving() == {"mlflow:one/1": 100.0}
    (endpoint,) = await read_all(rig.world.platform, ["chat"])
    assert endpoint.slots["b"].release is None
    assert max(w["b"] for w in rig.flow.weights_seen) <= 50


async def test_a_champion_that_was_deleted_by_hand_is_mended_by_the_next_apply(rig: Rig) -> None:
    rig.world.kill("a")
    outcome = await rig.apply()
    assert outcome.good, outcome
    assert await rig.serving() == {"mlflow:one/1": 100.0}
    (endpoint,) = await read_all(rig.world.platform, ["chat"])
    assert endpoint.slots["a"].ready_count == 2
    assert endpoint.slots["a"].problem is None


@contextlib.contextmanager
def hog(cluster: ControlPlane, *, gpus: int) -> Iterator[None]:
    """Take GPUs away while the block runs."""
    container = {"name": "x", "image": "x", "resources": {"limits": {GPU_RESOURCE: str(gpus)}}}
    metadata = {"name": "hog", "namespace": "default"}
    cluster.api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})
    cluster.wait_for("the GPUs to be taken", lambda: bool(pod_of(cluster)["spec"].get("nodeName")))
    yield
    cluster.api.delete("v1", "Pod", "hog", "default")


def pod_of(cluster: ControlPlane) -> Body:
    """Return the pod that takes GPUs away."""
    found = cluster.api.get("v1", "Pod", "hog", "default")
    assert found is not None
    return found


async def test_a_challenger_for_which_there_are_no_machines_gets_no_traffic(rig: Rig, cluster: ControlPlane) -> None:
    """It waits as long as `start_timeout_s` says, with a sentence that says what to do; the champion serves on."""
    rig.declare("two", start_timeout_s=4)
    with hog(cluster, gpus=30):
        outcome = await rig.apply()
    assert outcome.rollout is not None
    assert not outcome.good
    assert "no machine of the pool l4 has a free GPU" in outcome.rollout.reason
    assert await rig.serving() == {"mlflow:one/1": 100.0}
    assert max(w["b"] for w in rig.flow.weights_seen) == 0


class Died(BaseException):
    """The process was killed here; nothing after this line happened."""


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.SHIFTING, Phase.BAKING])
async def test_a_rollout_whose_process_died_is_carried_on_by_the_next(rig: Rig, phase: Phase) -> None:
    """Nothing of it was in the process: the next one finds the rollout in the store and its slots in the cluster."""
    rig.declare("two")
    seen: list[float] = []

    def die(snapshot: Snapshot) -> None:
        if snapshot.rollout.regions[0].phase is phase:
            raise Died

    def watch(snapshot: Snapshot) -> None:
        seen.extend(e.slots["b"].weight_pct for e in snapshot.observed.values())

    with pytest.raises(Died):
        await rig.apply(watch=die)
    rig.world.platform = rig.world.opened()
    outcome = await rig.apply(watch=watch)
    assert outcome.rollout is not None
    assert outcome.rollout.phase is Phase.PROMOTED, outcome
    assert await rig.serving() == {"mlflow:two/1": 100.0}
    assert seen == sorted(seen), "no weight was taken back"


def autoscaled(rig: Rig, slot: str, replicas: int) -> None:
    """Let an autoscaler take a slot to so many servers, and keep the number from then on."""
    found = rig.world.deployment(slot)
    metadata = {key: found["metadata"][key] for key in ("name", "namespace")}
    body: Body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": replicas}}
    rig.world.plane.api.apply(body, manager="keda")


async def test_an_autoscaler_that_adds_servers_in_the_canary_is_left_to_it(rig: Rig) -> None:
    rig.declare("two")
    scaled: list[int] = []

    def watch(snapshot: Snapshot) -> None:
        if snapshot.rollout.regions[0].phase is Phase.SHIFTING and not scaled:
            scaled.append(3)
            autoscaled(rig, "b", 3)

    outcome = await rig.apply(watch=watch)
    assert outcome.rollout is not None
    assert outcome.rollout.phase is Phase.PROMOTED, outcome
    (endpoint,) = await read_all(rig.world.platform, ["chat"])
    assert (endpoint.slots["b"].wanted, endpoint.slots["b"].ready_count) == (3, 3)


async def test_an_autoscaler_that_keeps_too_few_servers_holds_the_rollout_and_is_named(rig: Rig) -> None:
    """The share of 100 % needs two servers, and somebody else keeps one: it is not overruled, and that is told."""
    rig.declare("two", on_inconclusive="roll_back")
    scaled: list[int] = []

    def watch(snapshot: Snapshot) -> None:
        seen = next(iter(snapshot.observed.values()), None)
        if seen and seen.slots["b"].weight_pct == 10 and not scaled:
            scaled.append(1)
            autoscaled(rig, "b", 1)

    outcome = await rig.apply(watch=watch)
    assert not outcome.good
    assert "PLAT-025" in outcome.summary + (outcome.rollout.reason if outcome.rollout else "") + str(outcome.error)
    assert rig.world.deployment("b")["spec"]["replicas"] == 1
    assert (await rig.serving())["mlflow:one/1"] >= 50


@pytest.mark.parametrize("model", ["two", "bad"])
async def test_an_autoscaler_is_borrowed_for_a_rollout_and_given_back_however_it_ends(rig: Rig, model: str) -> None:
    """The champion has four servers by its load, the file declares two, and the challenger's own load asks for one."""
    rig.flow.bad["mlflow:bad/1"] = 0.3
    with Keda(rig.world.plane, rig.world.namespace).at_work() as keda:
        keda.desired["chat-a"] = 4
        for slot in "ab":
            keda.scale(f"chat-{slot}", most=8)
        await until(rig.world, "a", lambda s: s.ready_count == 4)
        before = {slot: keda.scaled(f"chat-{slot}") for slot in "ab"}
        rig.declare(model)
        plan = await rig.plan()
        assert [f.level for f in plan.findings if f.policy == "PLAT-025"] == ["info"]
        paused: set[str] = set()

        def watch(snapshot: Snapshot) -> None:
            notes = keda.scaled("chat-b")["metadata"].get("annotations", {})
            paused.update({notes[PAUSED_AT]} if PAUSED_AT in notes else ())

        outcome = await rig.apply(plan, watch)
        after = {slot: keda.scaled(f"chat-{slot}") for slot in "ab"}
    assert outcome.rollout is not None
    assert outcome.rollout.phase is (Phase.PROMOTED if model == "two" else Phase.ROLLED_BACK), outcome
    assert ("4" in paused) == (model == "two"), "all of the traffic needs as many as the champion has"
    for slot in "ab":
        assert after[slot]["metadata"].get("annotations", {}) == before[slot]["metadata"].get("annotations", {})
        assert after[slot]["spec"] == before[slot]["spec"]
