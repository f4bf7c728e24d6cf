"""A slot's pods: what they run, when they are ready, how they end, and what a namespace would refuse."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from reconciler.core.model.release import Artifact
from reconciler.platforms.kubernetes import marks
from reconciler.platforms.kubernetes.artifacts import CLAIM, IMAGE, STREAM, Source, cold_start_s
from reconciler.platforms.kubernetes.pod import PRESTOP_S, grace_s
from reconciler.platforms.kubernetes.workload import service, workload
from tests.unit.kubernetes.made import DIGEST, MODEL_IMAGE, SLOT, brought, options, place, release

STREAMED = Source(STREAM, "s3://bucket/chat", "tests")


def made(*, sources: dict[str, Source] | None = None, held: Any = None, **declared: Any) -> dict[str, Any]:
    """Return the workload of slot a."""
    what = brought(held, **(sources or {}))
    return workload(SLOT, what, options(), place(**declared), replicas=2, fence=7)


def container(body: dict[str, Any]) -> dict[str, Any]:
    (found,) = body["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_it_says_what_it_runs_and_who_may_change_it() -> None:
    body = made()
    notes = marks.notes_of(body)
    assert marks.release_of(notes[marks.RELEASE]) == release()
    assert marks.fence_of(body) == 7
    assert body["metadata"]["labels"]["sluice.dev/release"] == release().id
    assert body["spec"]["template"]["metadata"]["labels"] == body["metadata"]["labels"]
    assert body["spec"]["selector"]["matchLabels"] == {"sluice.dev/endpoint": "chat", "sluice.dev/slot": "a"}


def test_two_releases_never_run_in_one_slot() -> None:
    assert made()["spec"]["strategy"] == {"type": "Recreate"}


def test_the_drain_fits_into_the_grace() -> None:
    """preStop + drain + margin: a kubelet that kills before the drain ends would cut streams."""
    body = made(drain_s=600)
    arguments = container(body)["args"]
    assert ("--shutdown-timeout", "600") in set(pairwise(arguments))
    assert container(body)["lifecycle"]["preStop"]["sleep"]["seconds"] == PRESTOP_S
    assert body["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > PRESTOP_S + 600


def test_a_release_may_have_a_drain_of_its_own() -> None:
    held = release(engine={"shutdown_timeout": 1200})
    assert "--shutdown-timeout" not in container(made(held=held))["args"]
    assert grace_s(held, place(drain_s=600)) > PRESTOP_S + 1200


def test_ready_means_that_it_serves_the_names() -> None:
    held = release(adapters={"acme": Artifact("mlflow:acme/1", DIGEST)})
    body = made(held=held, sources={"model": Source(CLAIM, "ab", ""), "adapters.acme": Source(CLAIM, "cd", "")})
    command = container(body)["readinessProbe"]["exec"]["command"]
    assert command[-2:] == ["chat", "acme"]
    compile(command[2], "probe", "exec")
    assert container(body)["startupProbe"]["httpGet"]["path"] == "/health"


@pytest.mark.parametrize("way", [STREAMED, Source(CLAIM, "ab", ""), Source(IMAGE, MODEL_IMAGE, "")])
def test_a_start_has_twice_the_time_that_it_is_expected_to_take(way: Source) -> None:
    probe = container(made(sources={"model": way}, start_timeout_s=60))["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] >= 2 * cold_start_s(place(), way)


def test_gpus_and_memory_are_limited_and_pods_go_to_their_pool() -> None:
    body = made(gpus=2)
    assert container(body)["resources"]["limits"] == {"memory": "48Gi", "nvidia.com/gpu": "2"}
    pod = body["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"sluice.dev/pool": "l4"}
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert {c["topologyKey"] for c in pod["topologySpreadConstraints"]} >= {"topology.kubernetes.io/zone"}


def test_a_model_is_mounted_or_streamed() -> None:
    image = made(sources={"model": Source(IMAGE, MODEL_IMAGE, "")})
    assert image["spec"]["template"]["spec"]["volumes"][0]["image"]["reference"] == MODEL_IMAGE
    assert container(image)["volumeMounts"][0] == {"mountPath": "/models/model", "name": "model", "readOnly": True}
    claimed = container(made())["volumeMounts"][0]
    assert claimed == {"mountPath": "/models/model", "name": "claim", "subPath": "ab" * 32, "readOnly": True}
    streamed = made(sources={"model": STREAMED})
    assert ("--load-format", "runai_streamer") in set(pairwise(container(streamed)["args"]))
    assert not [v for v in streamed["spec"]["template"]["spec"]["volumes"] if v["name"] in ("model", "claim")]
    assert brought(None, model=STREAMED).paths() == {"model": "s3://bucket/chat"}


def test_a_replica_over_machines_is_a_group_that_starts_as_one() -> None:
    body = made(workers=2)
    assert body["kind"] == "LeaderWorkerSet"
    group = body["spec"]["leaderWorkerTemplate"]
    assert (group["size"], group["restartPolicy"]) == (2, "RecreateGroupOnPodRestart")
    (leader,), (worker,) = (group[k]["spec"]["containers"] for k in ("leaderTemplate", "workerTemplate"))
    assert "--headless" in worker["args"]
    assert "--headless" not in leader["args"]
    assert "readinessProbe" in leader
    assert "readinessProbe" not in worker
    assert service(SLOT, place(workers=2))["spec"]["selector"]["leaderworkerset.sigs.k8s.io/worker-index"] == "0"
