"""What the client does beside the API: views are shared and never die unseen, and the extra is asked for by name."""

from __future__ import annotations

import asyncio
import sys

import pytest

from environments.errors import SluiceError
from reconciler.kubernetes import KubeClient, open_client
from reconciler.kubernetes.kinds import POD, SERVICE
from tests.unit.kubernetes.test_reflector import Script, whole


async def test_readers_of_the_same_objects_share_one_watch() -> None:
    script = Script([whole("7", "a"), whole("7", "b"), whole("7", "c")])
    client = KubeClient(script, "test")
    views = [client.view(POD, labels="slot") for _ in range(1000)]
    others = client.view(POD, labels="other"), client.view(SERVICE, labels="slot")
    await asyncio.gather(*(view.synced(10.0) for view in (*views, *others)))
    await client.close()
    assert len({id(view) for view in views}) == 1
    assert [request.params["labelSelector"] for request in script.asked] == ["slot", "other", "slot"]


async def test_a_defect_in_a_watch_is_raised_where_the_view_is_asked_for() -> None:
    class Broken(Script):
        async def _next(self, request: object) -> object:  # type: ignore[override]
            raise ZeroDivisionError

    client = KubeClient(Broken([]), "test")
    client.view(POD)
    await asyncio.sleep(0.01)
    with pytest.raises(ZeroDivisionError):
        client.view(POD)
    await client.close()


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightkube.config.kubeconfig", None)
    with pytest.raises(SluiceError, match=r"KUBE-014(?s:.*)sluice\[kubernetes\]"):
        open_client("prod")
