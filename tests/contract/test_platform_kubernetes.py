"""What the platform `kubernetes` does beyond the contract of platforms, on a real control plane with fake machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.controller_rights import (
    BORROW_VERBS,
    BORROWS,
    CLUSTER_READS,
    READ_VERBS,
    READS,
    WRITE_VERBS,
    WRITES,
    rules,
)
from environments.errors import SluiceError
from environments.names import slot_object
from reconciler.platforms.kubernetes.placement import placement
from reconciler.platforms.kubernetes.workload import service
from reconciler.ports import InProgress, KeepsReplicas, SlotAddress, finished, read_all
from tests.support.kubernetes.api import Body
from tests.support.kubernetes.kubeconfig import write_kubeconfig
from tests.support.kubernetes.world import (
    REGION,
    ROUTE,
    KubernetesWorld,
    live_route,
    serving,
    world_on_a_cluster,  # noqa: F401 - the fixture `world`
)
from tests.support.worlds import place, seen, serve, until

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("kubernetes")]


async def test_servers_come_and_go_and_the_template_stays(world: KubernetesWorld) -> None:
    assert isinstance(world.platform, KeepsReplicas)
    await serve(world, "a", "one")
    template = world.deployment("a")["spec"]["template"]
    await finished(world.platform.scale, place(world, "a"), 3, fence=1)
    assert (await until(world, "a", lambda s: s.ready_count == 3)).wanted == 3
    await finished(world.platform.scale, place(world, "a"), 1, fence=1)
    assert (await until(world, "a", lambda s: len(s.replicas) == 1)).ready_count == 1
    assert world.deployment("a")["spec"]["template"] == template


async def test_servers_that_were_added_are_cold(world: KubernetesWorld) -> None:
    await serve(world, "a", "one")
    await finished(world.platform.mark_warm, place(world, "a"), fence=1)
    assert (await seen(world, "a")).warm
    await finished(world.platform.scale, place(world, "a"), 2, fence=1)
    found = await until(world, "a", lambda s: s.ready_count == 2)
    assert sorted(r.warm for r in found.replicas) == [False, True]


async def test_a_slot_for_which_there_are_no_gpus_says_so_and_gets_no_weight(world: KubernetesWorld) -> None:
    """The control plane has one machine of the pool with 32 GPUs; the pool may have two."""
    await serve(world, "a", "one")
    await finished(world.platform.start, place(world, "b"), world.release("two"), fence=1, replicas=40)
    found = await until(world, "b", lambda s: "no machine of the pool" in (s.problem or ""))
    assert "kubectl get nodeclaims" in (found.problem or "")
    assert found.ready_count < 40


async def test_no_weight_rises_before_a_server_answers(world: KubernetesWorld) -> None:
    await serving(world)
    await finished(world.platform.start, place(world, "b"), world.release("shy", never_ready=True), fence=1)
    await until(world, "b", lambda s: world.hands.hidden == 1 and not s.ready)
    waiting = await world.platform.weigh(world.address, {"a": 90, "b": 10}, fence=1)
    assert waiting == InProgress("slot b has no server that answers yet")
    (endpoint,) = await read_all(world.platform)
    assert endpoint.weights == {"a": 100.0, "b": 0.0}


async def test_weights_are_in_force_when_the_gateways_controller_says_so(world: KubernetesWorld) -> None:
    await serving(world)
    await serve(world, "b", "two")
    world.hands.controls = False
    waiting = await world.platform.weigh(world.address, {"a": 90, "b": 10}, fence=1)
    assert waiting == InProgress("the gateway has not seen the present weights yet")
    world.hands.controls = True
    await finished(world.platform.weigh, world.address, {"a": 90, "b": 10}, fence=1)


async def test_a_slot_is_emptied_only_when_the_gateway_has_seen_that_it_has_no_weight(world: KubernetesWorld) -> None:
    await serving(world)
    await serve(world, "b", "two")
    await finished(world.platform.weigh, world.address, {"a": 90, "b": 10}, fence=1)
    world.hands.controls = False
    assert await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=1)
    waiting = await world.platform.stop(place(world, "b"), fence=1)
    assert waiting is not None
    assert "may still be in force" in waiting.why
    assert (await seen(world, "b")).ready
    world.hands.controls = True
    await finished(world.platform.stop, place(world, "b"), fence=1)
    assert (await seen(world, "b")).release is None


async def test_a_deployment_that_was_deleted_by_hand_is_seen_and_made_again(world: KubernetesWorld) -> None:
    await serving(world)
    world.kill("a")
    found = await until(world, "a", lambda s: not s.running)
    assert "deleted by somebody else" in (found.problem or "")
    await serve(world, "a", "one")
    found = await seen(world, "a")
    assert (found.ready, found.weight_pct, found.problem) == (True, 100.0, None)


async def test_a_route_that_was_deleted_by_hand_is_made_again(world: KubernetesWorld) -> None:
    await serving(world)
    world.plane.api.delete(*ROUTE, world.namespace)
    await until(world, "a", lambda s: s.weight_pct == 0)
    await finished(world.platform.weigh, world.address, {"a": 100, "b": 0}, fence=1)
    assert (await seen(world, "a")).weight_pct == 100


async def test_an_autoscaler_keeps_the_number_of_servers(world: KubernetesWorld) -> None:
    """Whoever else owns `spec.replicas` is never overruled; what it has already done is fine."""
    await serve(world, "a", "one")
    deployment = world.deployment("a")
    body = {key: deployment[key] for key in ("apiVersion", "kind")}
    metadata = {key: deployment["metadata"][key] for key in ("name", "namespace")}
    world.plane.api.apply({**body, "metadata": metadata, "spec": {"replicas": 2}}, manager="keda")
    await until(world, "a", lambda s: s.wanted == 2)
    await finished(world.platform.scale, place(world, "a"), 2, fence=1)
    with pytest.raises(SluiceError) as refused:
        await world.platform.scale(place(world, "a"), 3, fence=1)
    assert refused.value.code == "PLAT-025"
    assert "keda" in refused.value.problem.why
    assert "set minReplicas" in refused.value.problem.do
    assert world.deployment("a")["spec"]["replicas"] == 2


async def test_rules_that_somebody_else_wrote_are_not_taken(world: KubernetesWorld) -> None:
    await serving(world)
    await serve(world, "b", "two")
    theirs = live_route(world)
    rules = [rule | {"timeouts": {"request": "15s"}} for rule in theirs["spec"]["rules"]]
    changed = {
        "apiVersion": ROUTE[0],
        "kind": ROUTE[1],
        "metadata": {"name": "chat", "namespace": world.namespace},
        "spec": {"parentRefs": theirs["spec"]["parentRefs"], "rules": rules},
    }
    world.plane.api.apply(changed, manager="somebody")
    with pytest.raises(SluiceError) as refused:
        await finished(world.platform.weigh, world.address, {"a": 90, "b": 10}, fence=1)
    assert refused.value.code == "KUBE-005"
    assert "somebody" in str(refused.value)
    assert live_route(world)["spec"]["rules"] == rules


async def test_a_deployment_of_somebody_else_is_left_alone(world: KubernetesWorld) -> None:
    container = {
        "name": "x",
        "image": "x",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    labels = {"app": "theirs"}
    theirs = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": slot_object("chat", "a"), "namespace": world.namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    uid = world.plane.api.apply(theirs)["metadata"]["uid"]
    with pytest.raises(SluiceError, match="PLAT-024"):
        await world.platform.start(place(world, "a"), world.release("one"), fence=1)
    with pytest.raises(SluiceError, match="PLAT-024"):
        await world.platform.stop(place(world, "a"), fence=1)
    assert world.deployment("a")["metadata"]["uid"] == uid


async def test_a_route_of_somebody_else_is_left_alone(world: KubernetesWorld) -> None:
    theirs: Body = {
        "apiVersion": ROUTE[0],
        "kind": ROUTE[1],
        "metadata": {"name": "chat", "namespace": world.namespace},
        "spec": {"rules": [{"backendRefs": [{"name": "theirs", "port": 80}]}]},
    }
    world.plane.api.apply(theirs, manager="somebody")
    await serve(world, "a", "one")
    with pytest.raises(SluiceError) as refused:
        await world.platform.weigh(world.address, {"a": 100, "b": 0}, fence=2)
    assert refused.value.code == "KUBE-005"
    await finished(world.platform.remove, world.address, fence=3)
    assert [entry["manager"] for entry in live_route(world)["metadata"]["managedFields"]] == ["somebody"]


async def test_another_process_goes_on_where_this_one_ended(world: KubernetesWorld) -> None:
    await serving(world)
    await finished(world.platform.mark_warm, place(world, "a"), fence=1)
    before = await read_all(world.platform)
    world.platform = world.opened()
    assert await read_all(world.platform) == before


async def test_pods_of_the_restricted_standard_are_made(world: KubernetesWorld) -> None:
    """The namespace of every test here enforces it; that it does is proven by a pod that it refuses."""
    await serve(world, "a", "one")
    naked: Body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "naked", "namespace": world.namespace},
        "spec": {"containers": [{"name": "x", "image": "x"}]},
    }
    with pytest.raises(Exception, match="violates PodSecurity"):
        world.plane.api.apply(naked)


async def test_a_quota_is_named(world: KubernetesWorld) -> None:
    quota: Any = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few", "namespace": world.namespace},
        "spec": {"hard": {"requests.nvidia.com/gpu": "1"}},
    }
    world.plane.api.apply(quota)
    await serve(world, "a", "one")
    await finished(world.platform.start, place(world, "b"), world.release("two"), fence=1)
    found = await until(world, "b", lambda s: "quota" in (s.problem or ""))
    assert "Raise the quota" in (found.problem or "")


async def test_an_endpoint_that_is_not_declared_any_more_is_found_and_removed(world: KubernetesWorld) -> None:
    await serving(world)
    other = SlotAddress(replace(world.address, endpoint="other"), "a")
    await finished(world.platform.start, other, world.release("one", endpoint="other"), fence=1)
    kept = {name: spec for name, spec in world.spec.endpoints.items() if name == "other"}
    world.spec = world.spec.model_copy(update={"endpoints": kept})
    world.platform = world.opened()
    assert [e.address.endpoint for e in await read_all(world.platform)] == ["chat", "other"]
    await finished(world.platform.remove, world.address, fence=1)
    assert [e.address.endpoint for e in await read_all(world.platform)] == ["other"]
    with pytest.raises(SluiceError, match="PLAT-020"):
        await world.platform.start(place(world, "a"), world.release("one"), fence=1)


def kubernetes_rules(wanted: Sequence[tuple[str, Sequence[str]]], verbs: Sequence[str]) -> list[Body]:
    """Return RBAC rules as the API server takes them, from those that the stack hands to Pulumi."""
    made: Any = rules(wanted, verbs)
    return [{"apiGroups": r["api_groups"], "resources": r["resources"], "verbs": r["verbs"]} for r in made]


def as_the_controllers(world: KubernetesWorld, folder: Path) -> None:
    """Let the world's next platform object have the rights that the stack gives to the controllers, and no more."""
    api, inside = world.plane.api, {"name": "controllers", "namespace": world.namespace}
    rbac, group = "rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", **inside}
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": inside})
    theirs = kubernetes_rules(WRITES, WRITE_VERBS) + kubernetes_rules(READS, READ_VERBS)
    theirs += kubernetes_rules(BORROWS, BORROW_VERBS)
    api.apply({"apiVersion": rbac, "kind": "Role", "metadata": inside, "rules": theirs})
    ref = {"apiGroup": group, "kind": "Role", "name": "controllers"}
    api.apply({"apiVersion": rbac, "kind": "RoleBinding", "metadata": inside, "roleRef": ref, "subjects": [subject]})
    whole = {"name": world.namespace}
    everywhere = kubernetes_rules(CLUSTER_READS, READ_VERBS)
    api.apply({"apiVersion": rbac, "kind": "ClusterRole", "metadata": whole, "rules": everywhere})
    ref = {"apiGroup": group, "kind": "ClusterRole", "name": world.namespace}
    binding = {"roleRef": ref, "subjects": [subject]}
    api.apply({"apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": whole, **binding})
    cluster, token = world.plane.cluster, api.token("controllers", world.namespace)
    world.kubeconfig = write_kubeconfig(folder / "kubeconfig", cluster.url, token=token, authority=cluster.certificate)
    world.platform = world.opened()


async def test_the_rights_that_the_stack_gives_are_enough(world: KubernetesWorld, tmp_path: Path) -> None:
    """Services are the stack's: with these rights they are read, and made by nobody here."""
    as_the_controllers(world, tmp_path)
    with pytest.raises(SluiceError) as refused:
        await world.platform.start(place(world, "a"), world.release("one"), fence=1)
    assert refused.value.code == "KUBE-003"
    assert "services" in str(refused.value)
    declared = placement(world.spec, REGION, "chat")
    for slot in "ab":
        theirs = service(place(world, slot), declared)
        theirs["metadata"].pop("annotations")
        world.plane.api.apply(theirs, manager="pulumi-kubernetes")
    await serving(world)
    await finished(world.platform.mark_warm, place(world, "a"), fence=1)
    await finished(world.platform.scale, place(world, "a"), 2, fence=2)
    await finished(world.platform.start, place(world, "b"), world.release("two"), fence=2, replicas=40)
    await until(world, "b", lambda s: "no machine of the pool" in (s.problem or ""))
    await finished(world.platform.stop, place(world, "b"), fence=2)
    assert await world.platform.foresee(world.address, world.release("two"))
    await finished(world.platform.remove, world.address, fence=2)
    assert await read_all(world.platform) == ()
    assert world.plane.api.get("v1", "Service", "chat-a", world.namespace) is not None
