"""The client says of each refusal of the real API server who refused what, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from environments.errors import SluiceError
from reconciler.kubernetes import KubeClient, KubeReader, KubeWriter, open_client
from reconciler.kubernetes.kinds import CONFIG_MAP, DEPLOYMENT, HTTP_ROUTE, NODE, POD
from tests.contract.kube_plane import api_plane, client_of, config_map, namespace
from tests.support.kubernetes.api import Body
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.kubeconfig import write_kubeconfig

__all__ = ["api_plane"]
pytestmark = [pytest.mark.engine, pytest.mark.timeout(600), pytest.mark.xdist_group("kube-api")]
WHERE = "eu-west-1 (context test)"
RBAC = "rbac.authorization.k8s.io/v1"


@pytest.fixture
async def client(api_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[KubeClient]:
    """Return a client with full rights."""
    async with client_of(api_plane, tmp_path) as opened:
        yield opened


@dataclass(frozen=True)
class Roles:
    """The client as a platform takes it: mypy says that it is both."""

    reader: KubeReader
    writer: KubeWriter


def pod(name: str, inside: str) -> Body:
    """Return a pod that asks for nothing special, which the level `restricted` refuses."""
    spec: Body = {"containers": [{"name": "server", "image": "server:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": inside}, "spec": spec}


def deployment(name: str, inside: str) -> Body:
    """Return a Deployment of such a pod."""
    template = {"metadata": {"labels": {"app": name}}, "spec": pod(name, inside)["spec"]}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    metadata = {"name": name, "namespace": inside}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


async def refused(call: Any, code: str) -> str:
    """Return the text of the error that a call ends with."""
    with pytest.raises(SluiceError) as problem:
        await call
    assert problem.value.code == code, str(problem.value)
    return str(problem.value)


async def test_reading_and_writing(client: KubeClient) -> None:
    roles = Roles(reader=client, writer=client)
    assert await roles.reader.version() >= (1, 30)
    assert await client.get(CONFIG_MAP, "absent", "default") is None
    applied = await roles.writer.apply(config_map("one", a="1"), kind=CONFIG_MAP)
    assert applied.body["data"] == {"a": "1"}
    assert applied.body["metadata"]["managedFields"][0]["manager"] == "sluice"
    await client.apply(config_map("dry"), kind=CONFIG_MAP, dry_run=True)
    assert await client.get(CONFIG_MAP, "dry", "default") is None
    patched = await client.patch(CONFIG_MAP, "one", {"data": {"b": "2"}}, namespace="default")
    assert patched["data"] == {"a": "1", "b": "2"}
    listed = await client.list(CONFIG_MAP, "default", labels="suite=kube")
    assert [(b["kind"], b["metadata"]["name"]) for b in listed] == [("ConfigMap", "one")]
    for _ in range(2):
        await client.delete(CONFIG_MAP, "one", namespace="default")
    assert await client.get(CONFIG_MAP, "one", "default") is None


async def test_only_what_was_judged_is_deleted_or_changed(client: KubeClient) -> None:
    first = (await client.apply(config_map("judged", a="1"), kind=CONFIG_MAP)).body["metadata"]
    await client.apply(config_map("judged", a="2"), kind=CONFIG_MAP)
    delete = {"name": "judged", "namespace": "default"}
    await refused(client.delete(CONFIG_MAP, **delete, resource_version=first["resourceVersion"]), "KUBE-010")
    await refused(client.delete(CONFIG_MAP, **delete, uid="11111111-1111-1111-1111-111111111111"), "KUBE-010")
    late = config_map("judged", a="3")
    late["metadata"]["resourceVersion"] = first["resourceVersion"]
    await refused(client.apply(late, kind=CONFIG_MAP), "KUBE-010")
    other = config_map("judged", a="3")
    other["metadata"]["uid"] = "11111111-1111-1111-1111-111111111111"
    await refused(client.apply(other, kind=CONFIG_MAP), "KUBE-010")
    await refused(
        client.patch(
            CONFIG_MAP, "judged", {"metadata": {"resourceVersion": "1"}, "data": {"a": "4"}}, namespace="default"
        ),
        "KUBE-010",
    )
    assert (await client.get(CONFIG_MAP, "judged", "default") or {})["data"] == {"a": "2"}
    await client.delete(CONFIG_MAP, **delete, uid=first["uid"])
    assert await client.get(CONFIG_MAP, "judged", "default") is None


async def test_a_conflict_names_the_other_manager_and_the_field(client: KubeClient, api_plane: ControlPlane) -> None:
    api_plane.api.apply(config_map("shared", a="1"), manager="argocd")
    text = await refused(client.apply(config_map("shared", a="2"), kind=CONFIG_MAP), "KUBE-005")
    assert f"{WHERE}: ConfigMap default/shared" in text
    assert ".data.a is argocd's (Apply at 20" in text
    forced = await client.apply(config_map("shared", a="2"), kind=CONFIG_MAP, force=True)
    assert forced.body["data"] == {"a": "2"}


@pytest.mark.parametrize(
    ("subresource", "said"), [("", "hpa's (Update at 20"), ("scale", "hpa's (Update)")]
)  # Kubernetes keeps no time of a write through `scale`
async def test_a_conflict_with_an_update(
    client: KubeClient, api_plane: ControlPlane, subresource: str, said: str
) -> None:
    name = f"scaled-{subresource or 'edit'}"
    await client.apply(deployment(name, "default"), kind=DEPLOYMENT)
    scaled = deployment(name, "default") | {"spec": {"replicas": 3}}
    api_plane.api.merge(scaled, manager="hpa", subresource=subresource)
    text = await refused(client.apply(deployment(name, "default"), kind=DEPLOYMENT), "KUBE-005")
    assert f".spec.replicas is {said}" in text


async def test_a_missing_right_names_the_rule(api_plane: ControlPlane, tmp_path: Path) -> None:
    token = token_of(api_plane, "reader", [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}])
    async with client_of(api_plane, tmp_path, token=token) as few:
        assert await few.list(POD, "default") == ()
        text = await refused(few.apply(deployment("x", "default"), kind=DEPLOYMENT), "KUBE-003")
        assert f"{WHERE}: Deployment default/x" in text
        assert 'the right to patch deployments in the namespace "default" is missing' in text
        assert 'add to the Role of "system:serviceaccount:default:reader"' in text
        assert '{apiGroups: ["apps"], resources: ["deployments"], verbs: ["patch"]}' in text
        assert "ClusterRole" in await refused(few.list(NODE), "KUBE-003")
        assert 'resources: ["pods/proxy"]' in await refused(few.proxy("default", "p", 8000, "/metrics"), "KUBE-003")
        with pytest.raises(SluiceError, match=r'resources: \["configmaps"\], verbs: \["(watch|list)"\]'):
            await few.view(CONFIG_MAP, "default").synced(30.0)


async def test_credentials_that_the_cluster_does_not_know(api_plane: ControlPlane, tmp_path: Path) -> None:
    async with client_of(api_plane, tmp_path, token="expired") as stranger:
        text = await refused(stranger.get(POD, "p", "default"), "KUBE-002")
        assert f"{WHERE}: Pod default/p" in text
        await refused(stranger.view(POD, "default").synced(30.0), "KUBE-002")


async def test_a_pod_that_the_namespace_refuses(client: KubeClient, api_plane: ControlPlane) -> None:
    level = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
    api_plane.api.apply(namespace("strict", **level))
    text = await refused(client.apply(pod("p", "strict"), kind=POD), "KUBE-006")
    assert 'violates PodSecurity "restricted:latest"' in text
    assert "allowPrivilegeEscalation" in text
    applied = await client.apply(deployment("d", "strict"), kind=DEPLOYMENT)
    assert any("would violate PodSecurity" in warning for warning in applied.warnings), applied.warnings


async def test_a_quota_that_is_used_up(client: KubeClient, api_plane: ControlPlane) -> None:
    api_plane.api.apply(namespace("small"))
    quota: Body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "small"}}
    api_plane.api.apply({**quota, "spec": {"hard": {"pods": "0"}}})
    api_plane.api.apply({**quota, "status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}}, status=True)
    text = await refused(client.apply(pod("p", "small"), kind=POD), "KUBE-007")
    assert 'the quota "few" is used up: requested: pods=1, used: pods=0, limited: pods=0' in text


async def test_what_is_absent_or_wrong(client: KubeClient) -> None:
    assert "httproutes.gateway.networking.k8s.io" in await refused(client.get(HTTP_ROUTE, "r", "default"), "KUBE-004")
    assert 'namespaces "nowhere"' in await refused(
        client.apply(config_map("c", "nowhere"), kind=CONFIG_MAP), "KUBE-012"
    )
    await refused(client.patch(CONFIG_MAP, "absent", {"data": {}}, namespace="default"), "KUBE-012")
    wrong = {**config_map("c"), "dtaa": {"a": "1"}}
    assert "dtaa" in await refused(client.apply(wrong, kind=CONFIG_MAP), "KUBE-011")
    assert "HTTP 404" in await refused(client.proxy("default", "absent", 8000, "/metrics"), "KUBE-015")


async def test_an_api_server_that_is_not_there_or_not_trusted(
    api_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for server, authority, words in (
        ("https://127.0.0.1:1", api_plane.cluster.certificate, "does not answer"),
        (api_plane.cluster.url, "", "certificate is refused"),
    ):
        path = write_kubeconfig(tmp_path / "kubeconfig", server, token="t", authority=authority)
        monkeypatch.setenv("KUBECONFIG", str(path))
        lost = open_client("test")
        assert words in await refused(lost.version(), "KUBE-008")
        await lost.close()


def test_a_context_that_is_not_in_the_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_kubeconfig(tmp_path / "one", "https://127.0.0.1:1", context="prod-eu")
    other = write_kubeconfig(tmp_path / "two", "https://127.0.0.1:2", context="prod-us")
    monkeypatch.setenv("KUBECONFIG", f"{path}:{other}")
    assert open_client("prod-us").cluster == "context prod-us"
    assert open_client(None).cluster == "context prod-eu"
    with pytest.raises(SluiceError, match=r'no context "prod-eu2"(?s:.*)nearest: "prod-eu"; known: prod-eu, prod-us'):
        open_client("prod-eu2")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(SluiceError, match=r"KUBE-001(?s:.*)there is no kubeconfig"):
        open_client("prod-eu")


async def stub(answers: list[bytes], asked: list[bytes] | None = None) -> tuple[asyncio.Server, str]:
    """Serve each answer once, on a connection of its own, and return the server and its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if asked is not None:
            asked.append(head.partition(b"\r\n")[0])
        writer.write(answers.pop(0))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(status: str, body: str, *headers: str) -> bytes:
    """Return an answer as bytes."""
    lines = [
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, *headers, "", body]).encode()


BUSY = http("429 Too Many Requests", '{"kind":"Status","code":429,"message":"busy"}', "Retry-After: 7")
FINE = http("200 OK", '{"major":"1","minor":"36+"}')


@pytest.mark.parametrize(
    ("answers", "slept", "code"), [([BUSY, BUSY, FINE], [7, 7], ""), ([BUSY] * 5, [7] * 4, "KUBE-009")]
)
async def test_what_the_server_asks_to_wait_is_waited_within_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[bytes], slept: list[int], code: str
) -> None:
    server, url = await stub(list(answers))
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", url)))
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    client = open_client("test")
    client._sleep = sleep
    if code:
        assert "busy" in await refused(client.version(), code)
    else:
        assert await client.version() == (1, 36)
    assert waits == slept
    await client.close()
    server.close()


async def test_a_pod_is_asked_through_the_api_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    server, url = await stub([http("200 OK", "vllm:x 1\n"), http("500 Oops", "dead")], asked)
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", url)))
    client = open_client("test")
    assert await client.proxy("team", "chat-0", 8000, "/metrics?a=b") == "vllm:x 1\n"
    assert "HTTP 500" in await refused(client.proxy("team", "chat-0", 8000, "/health"), "KUBE-015")
    assert asked == [
        b"GET /api/v1/namespaces/team/pods/chat-0:8000/proxy/metrics?a=b HTTP/1.1",
        b"GET /api/v1/namespaces/team/pods/chat-0:8000/proxy/health HTTP/1.1",
    ]
    await client.close()
    server.close()


@pytest.mark.parametrize("command", ["sluice-no-such-program", "false"])
async def test_a_program_for_credentials_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    path = write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1")
    content = yaml.safe_load(path.read_text())
    plugin = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": command}
    content["users"][0]["user"] = {"exec": plugin}
    path.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("KUBECONFIG", str(path))
    client = open_client("test")
    assert command in await refused(client.version(), "KUBE-002")
    await client.close()


def token_of(plane: ControlPlane, name: str, rules: list[Body]) -> str:
    """Make a service account with these rights in the namespace `default`, and return a token of it."""
    inside = {"name": name, "namespace": "default"}
    plane.api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": inside})
    plane.api.apply({"apiVersion": RBAC, "kind": "Role", "metadata": inside, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": name, "namespace": "default"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    binding = {"apiVersion": RBAC, "kind": "RoleBinding", "metadata": inside, "roleRef": role, "subjects": [subject]}
    plane.api.apply(binding)
    return plane.api.token(name, "default")
