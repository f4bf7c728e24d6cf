"""Credentials of the pod that the reconciler runs in, against the real API server: its account's token is rotated."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from environments.errors import SluiceError
from reconciler.kubernetes import open_client
from reconciler.kubernetes.kinds import CONFIG_MAP
from tests.contract.kube_plane import FAST, api_plane, config_map
from tests.support.kubernetes.api import Body
from tests.support.kubernetes.control_plane import ControlPlane

__all__ = ["api_plane"]
pytestmark = [pytest.mark.engine, pytest.mark.timeout(600), pytest.mark.xdist_group("kube-api")]
ACCOUNT, RBAC = "sluice-controller", "rbac.authorization.k8s.io"


class PodAccount:
    """The folder that a kubelet mounts into a pod, with tokens that hold for as long as a Secret each is there."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self._plane, self.folder = plane, folder
        trusted = ssl.create_default_context(cafile=plane.cluster.certificate)
        self._http = httpx.Client(base_url=plane.cluster.url, verify=trusted)
        for body in _account():
            plane.api.apply(body)
        (folder / "ca.crt").write_text(Path(plane.cluster.certificate).read_text())
        (folder / "namespace").write_text("default")

    def rotate(self, name: str) -> str:
        """Put another token into the folder in one step, as a kubelet does; return it."""
        secret = self._plane.api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": _named(name)})
        bound = {"apiVersion": "v1", "kind": "Secret", "name": name, "uid": secret["metadata"]["uid"]}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": bound}}
        answer = self._http.post(
            f"/api/v1/namespaces/default/serviceaccounts/{ACCOUNT}/token", json=request, headers=self._bearer()
        )
        token = str(answer.raise_for_status().json()["status"]["token"])
        fresh = self.folder / "token.new"
        fresh.write_text(token)
        fresh.replace(self.folder / "token")
        return token

    def revoke(self, name: str, token: str) -> None:
        """Let a token hold no longer, and wait until the API server has forgotten that it did."""
        self._plane.api.delete("v1", "Secret", name, "default")
        path = "/api/v1/namespaces/default/configmaps"
        self._plane.wait_for(
            "the old token to be refused", lambda: self._http.get(path, headers=self._bearer(token)).status_code == 401
        )

    def _bearer(self, token: str = "") -> dict[str, str]:
        return {"Authorization": f"Bearer {token or self._plane.cluster.token}"}


def _named(name: str) -> Body:
    return {"name": name, "namespace": "default"}


def _account() -> list[Body]:
    """Return a service account that may read and write ConfigMaps."""
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch", "create", "patch"]}]
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "default"}
    role: Body = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": _named(ACCOUNT), "rules": rules}
    binding: Body = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": _named(ACCOUNT),
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": ACCOUNT},
        "subjects": [subject],
    }
    return [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _named(ACCOUNT)}, role, binding]


@pytest.fixture
def account(api_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PodAccount:
    """Return the account of the pod in which this process runs, as far as the client can tell."""
    from lightkube.config.kubeconfig import KubeConfig

    address = urlsplit(api_plane.cluster.url)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(address.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(address.port))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "there is none"))
    found = KubeConfig.from_service_account.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(found, "__defaults__", (str(tmp_path),))  # where kubelets mount it is not ours to write to
    return PodAccount(api_plane, tmp_path)


async def test_a_pod_goes_on_when_its_token_is_rotated_and_its_watch_too(account: PodAccount) -> None:
    first = account.rotate("first")
    client = open_client(None, region="eu-west-1", pace=FAST)
    try:
        await client.apply(config_map("pod-account", a="1"), kind=CONFIG_MAP)
        view = client.view(CONFIG_MAP, "default", labels="suite=kube")
        await view.synced(30)
        account.rotate("second")
        account.revoke("first", first)
        assert (await client.get(CONFIG_MAP, "pod-account", "default") or {})["data"] == {"a": "1"}
        await client.apply(config_map("pod-account", a="2"), kind=CONFIG_MAP)
        while view.items["default", "pod-account"]["data"] != {"a": "2"}:
            await view.changed(view.changes, 30)
        assert "context" in client.cluster
    finally:
        await client.close()


async def test_a_token_that_nobody_renewed_is_refused_and_said_to_be(account: PodAccount) -> None:
    token = account.rotate("only")
    account.revoke("only", token)
    client = open_client(None, region="eu-west-1", pace=FAST)
    try:
        with pytest.raises(SluiceError) as refused:
            await client.get(CONFIG_MAP, "pod-account", "default")
        assert refused.value.code == "KUBE-002", refused.value
    finally:
        await client.close()


async def test_a_pod_without_an_account_is_told_so(account: PodAccount) -> None:
    with pytest.raises(SluiceError, match="this pod has no service account") as refused:
        open_client(None)
    assert refused.value.code == "KUBE-001"
