"""Flag documents in the objects that flagd reads in a cluster, against the real API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from environments.errors import SluiceError
from environments.spec import EnvironmentSpec
from reconciler.kubernetes import KubeClient, open_client
from reconciler.pointers.kubernetes import KubernetesPointers
from reconciler.pointers.objects import HOLDERS
from reconciler.ports import DrawnRelease, ReleaseSplit
from tests.contract.kube_plane import FAST, api_plane, namespace
from tests.support.kubernetes.api import Body
from tests.support.kubernetes.control_plane import ControlPlane
from tests.support.kubernetes.kubeconfig import write_kubeconfig

__all__ = ["api_plane"]
pytestmark = [pytest.mark.engine, pytest.mark.timeout(600), pytest.mark.xdist_group("kube-api")]
OLD, NEW = "chat-0000000000", "chat-1111111111"
NAME, PLACE = "sluice-flags-prod", "support-prod"
FOREIGN: Body = {"state": "ENABLED", "variants": {"on": True}, "defaultVariant": "on"}
_ANYTHING: Body = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_FLAG: Body = {
    "type": "object",
    "required": ["defaultVariant", "state", "variants"],
    "properties": {
        "defaultVariant": {"type": "string"},
        "state": {"type": "string", "enum": ["ENABLED", "DISABLED"]},
        "targeting": _ANYTHING,
        "variants": _ANYTHING,
    },
}


def feature_flags() -> Body:
    """Return a CRD as strict as the operator's v1beta1: no metadata of flags, and a text as `defaultVariant`."""
    flags = {"type": "object", "additionalProperties": _FLAG}
    spec = {"type": "object", "properties": {"flagSpec": {"type": "object", "properties": {"flags": flags}}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    names = {"kind": "FeatureFlag", "listKind": "FeatureFlagList", "plural": "featureflags", "singular": "featureflag"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "featureflags.core.openfeature.dev"},
        "spec": {
            "group": "core.openfeature.dev",
            "names": names,
            "scope": "Namespaced",
            "versions": [{"name": "v1beta1", "served": True, "storage": True, "schema": schema}],
        },
    }


@dataclass
class Published:
    """A cluster's flags in one kind of object."""

    plane: ControlPlane
    holder: str
    connect: Callable[[], Awaitable[KubeClient]]

    def pointers(self, *endpoints: str) -> KubernetesPointers:
        """Return the adapter of a file that declares these endpoints."""
        return KubernetesPointers(declared(*endpoints), HOLDERS[self.holder], self.connect)

    @property
    def kind(self) -> tuple[str, str]:
        """Return API version and kind of the object."""
        kind = HOLDERS[self.holder].kind
        return kind.api_version, kind.name

    def live(self) -> Body:
        """Return the object as it is in the cluster."""
        found = self.plane.api.get(*self.kind, NAME, PLACE)
        assert found is not None
        return found

    def core(self) -> FlagdCore:
        """Return an evaluator of what flagd reads of the object."""
        core, body = FlagdCore(), self.live()
        core.set_flags(body["data"]["flags.json"] if "data" in body else json.dumps(body["spec"]["flagSpec"]))
        return core


def declared(*endpoints: str) -> EnvironmentSpec:
    """Return an environment whose endpoints are of the team `support`."""
    endpoint: Body = {"team": "support", "runtime": "vllm", "release": {"model": "mlflow:one/1"}}
    content: dict[str, Any] = {
        "environment": "prod",
        "owner": "tests",
        "store": "sqlite:///.sluice/prod.db",
        "registry": {"mlflow": "http://127.0.0.1:9"},
        "teams": {"support": {}},
        "regions": {"eu": {"platform": "kubernetes", "context": "test"}},
        "endpoints": dict.fromkeys(endpoints, endpoint),
    }
    return EnvironmentSpec.model_validate(content)


def split(share_pct: float, *, endpoint: str = "chat") -> ReleaseSplit:
    """Return a draw in which the challenger brings a prompt that the champion has not."""
    new = DrawnRelease(NEW, share_pct, {"system": "new “ü”\n", "tone": "kind"})
    return ReleaseSplit(endpoint, (new, DrawnRelease(OLD, 100 - share_pct, {"system": "old"})), "r1")


@pytest.fixture(scope="module")
def plane(api_plane: ControlPlane) -> ControlPlane:
    """Return a cluster that knows FeatureFlags."""
    crd = feature_flags()
    api_plane.api.apply(crd)

    def served() -> bool:
        found = api_plane.api.get(crd["apiVersion"], crd["kind"], crd["metadata"]["name"]) or {}
        conditions = (found.get("status") or {}).get("conditions") or ()
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

    api_plane.wait_for("FeatureFlags to be served", served)
    api_plane.api.apply(namespace(PLACE))
    return api_plane


@pytest.fixture(params=["config_map", "feature_flag"])
async def published(
    plane: ControlPlane, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Published]:
    """Return a namespace without flags."""
    cluster, opened = plane.cluster, list[KubeClient]()
    path = write_kubeconfig(tmp_path / "kubeconfig", cluster.url, token=cluster.token, authority=cluster.certificate)
    monkeypatch.setenv("KUBECONFIG", str(path))

    async def connect() -> KubeClient:
        opened.append(open_client("test", region="prod/eu", pace=FAST))
        return opened[-1]

    found = Published(plane, request.param, connect)
    yield found
    for client in opened:
        await client.close()
    plane.api.delete(*found.kind, NAME, PLACE)


async def test_what_is_published_is_read_back_by_another_process(published: Published) -> None:
    pointers = published.pointers("chat", "search")
    assert await pointers.read() == ()
    await pointers.publish("chat", split(10), fence=3)
    await pointers.publish("search", split(100, endpoint="search"), fence=1)
    assert [each.endpoint for each in await published.pointers("chat", "search").read()] == ["chat", "search"]
    assert (await pointers.read())[0] == split(10)
    await pointers.publish("chat", None, fence=3)
    assert [each.endpoint for each in await pointers.read()] == ["search"]


async def test_users_get_what_flagd_makes_of_the_object(published: Published) -> None:
    await published.pointers("chat").publish("chat", split(30), fence=1)
    core = published.core()
    users = [EvaluationContext(f"user-{n}", {}) for n in range(1000)]
    drawn = [core.resolve_string_value("chat.release", "mine", user).value for user in users]
    assert 250 < drawn.count(NEW) < 350
    for release, prompt, tone in ((NEW, "new “ü”\n", "kind"), (OLD, "old", "mine")):
        context = EvaluationContext("user-1", {"release": release})
        assert core.resolve_string_value("chat.system", "mine", context).value == prompt
        assert core.resolve_string_value("chat.tone", "mine", context).value == tone


async def test_an_old_owner_publishes_nothing(published: Published) -> None:
    pointers = published.pointers("chat", "search")
    await pointers.publish("chat", split(10), fence=7)
    with pytest.raises(SluiceError) as refused:
        await pointers.publish("chat", split(50), fence=6)
    assert refused.value.code == "LEASE-002"
    await pointers.publish("search", split(50, endpoint="search"), fence=1)
    assert (await pointers.read())[0] == split(10)


async def test_writers_of_different_endpoints_lose_nothing_not_even_the_first_ones(published: Published) -> None:
    names = [f"e{n}" for n in range(5)]
    await asyncio.gather(
        *(published.pointers(*names).publish(name, split(10, endpoint=name), fence=1) for name in names)
    )
    assert [each.endpoint for each in await published.pointers(*names).read()] == names


async def test_unchanged_content_is_not_written_again(published: Published) -> None:
    pointers = published.pointers("chat")
    await pointers.publish("chat", split(10), fence=1)
    version = published.live()["metadata"]["resourceVersion"]
    await pointers.publish("chat", split(10), fence=1)
    assert published.live()["metadata"]["resourceVersion"] == version


async def test_an_endpoint_that_the_file_no_longer_declares_is_withdrawn_where_it_is(published: Published) -> None:
    await published.pointers("chat").publish("chat", split(10), fence=1)
    later = published.pointers("search")
    await later.publish("chat", None, fence=2)
    assert await later.read() == ()
    await later.publish("nobody", None, fence=1)


async def test_a_document_of_another_manager_is_theirs(published: Published) -> None:
    """A ConfigMap's document is one field; of a FeatureFlag every flag is one, and theirs stays beside ours."""
    api_version, kind = published.kind
    theirs: Body = {"apiVersion": api_version, "kind": kind, "metadata": {"name": NAME, "namespace": PLACE}}
    text = json.dumps({"flags": {"banner": FOREIGN}})
    more: Body = {"data": {"flags.json": text}}
    if kind == "FeatureFlag":
        more = {"spec": {"flagSpec": {"flags": {"banner": FOREIGN}}}}
    published.plane.api.apply(theirs | more, manager="argocd")
    pointers = published.pointers("chat")
    if kind == "ConfigMap":
        with pytest.raises(SluiceError, match="argocd") as refused:
            await pointers.publish("chat", split(10), fence=1)
        assert refused.value.code == "KUBE-005"
        return
    await pointers.publish("chat", split(10), fence=1)
    await pointers.publish("chat", None, fence=1)
    flags = published.live()["spec"]["flagSpec"]["flags"]
    assert flags["banner"] == FOREIGN
    assert not [key for key in flags if key.startswith("chat.")]


async def test_a_damaged_document_is_told_and_left_alone(published: Published) -> None:
    pointers = published.pointers("chat")
    await pointers.publish("chat", split(10), fence=1)
    body = published.live()
    if "data" in body:
        harm: Body = {"data": {"flags.json": "{"}}
    else:
        (key,) = [name for name in body["metadata"]["annotations"] if name.endswith("/flags-json")]
        harm = {"metadata": {"annotations": {key: "{"}}}
    head = {"apiVersion": body["apiVersion"], "kind": body["kind"]}
    names = {"name": NAME, "namespace": PLACE}
    published.plane.api.apply(head | harm | {"metadata": names | harm.get("metadata", {})}, manager="kubectl")
    with pytest.raises(SluiceError) as told:
        await pointers.publish("chat", split(50), fence=1)
    assert told.value.code == "PTR-002"


def test_a_plan_can_say_how_fast_flags_spread(published: Published) -> None:
    words = published.pointers("chat").spread("chat") or ""
    assert f"{PLACE}/{NAME}" in words
    assert ("two minutes" if published.holder == "config_map" else "a second") in words
