"""Asks the gateway's proxies what they counted, each through the API server."""

from __future__ import annotations

import asyncio

from environments.errors import SluiceError
from environments.names import PROXY_NAMESPACE
from reconciler.kubernetes import Body, KubeReader
from reconciler.kubernetes.kinds import POD
from reconciler.platforms.kubernetes.pods import ready
from reconciler.platforms.kubernetes.traffic import Readings, Told, merged, parse

STATS_PORT = 19001
STATS_PATH = "/stats/prometheus?filter=endpoint"
_LABELS = "app.kubernetes.io/component=proxy,app.kubernetes.io/name=envoy"


class ProxyStats:
    """`Stats` of Envoy Gateway's proxies. A proxy that does not answer makes a reading fail: half a sum is none."""

    def __init__(self, client: KubeReader) -> None:
        self._client = client

    async def read(self, namespace: str, endpoint: str) -> Told:
        """Return the counters of an endpoint's route of every proxy that serves.

        Raises:
            SluiceError: `PLAT-001` (retryable) there is none; `KUBE-015` (retryable) one of them does not answer.
        """
        proxies = await ready_proxies(self._client, namespace, endpoint)
        return Told(merged(await asyncio.gather(*(self._one(pod, namespace, endpoint) for pod in proxies))))

    async def _one(self, pod: Body, namespace: str, endpoint: str) -> Readings:
        name = pod["metadata"]["name"]
        text = await self._client.proxy(PROXY_NAMESPACE, name, STATS_PORT, STATS_PATH)
        return parse(text, pod["metadata"]["uid"], namespace, endpoint)


async def ready_proxies(client: KubeReader, namespace: str, endpoint: str) -> list[Body]:
    """Return the pods of the gateway's proxies that serve; at least one.

    Raises:
        SluiceError: `PLAT-001` (retryable) there is none.
    """
    proxies = [pod for pod in await client.list(POD, PROXY_NAMESPACE, labels=_LABELS) if ready(pod)]
    if not proxies:
        raise SluiceError(
            "PLAT-001",
            where=f"{namespace}/{endpoint}",
            what=f"no proxy of the gateway is ready in {PROXY_NAMESPACE}",
            why="they count requests and errors",
            do=f"kubectl get pods -n {PROXY_NAMESPACE}",
            retryable=True,
        )
    return proxies
