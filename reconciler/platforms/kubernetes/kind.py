"""The record of the platform `kubernetes`: `environments.spec.KubernetesRegion` names it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from environments.errors import SluiceError
from environments.spec import KubernetesRegion
from reconciler.platforms.kubernetes.collected import CollectedServers, CollectedStats
from reconciler.platforms.kubernetes.doors import doors_inside
from reconciler.platforms.kubernetes.doorway import Doorway
from reconciler.platforms.kubernetes.observed import Doors
from reconciler.platforms.kubernetes.platform import KubernetesPlatform
from reconciler.platforms.kubernetes.proxies import ProxyStats
from reconciler.platforms.kubernetes.reach import Reach, ReachableStats
from reconciler.platforms.kubernetes.reading import KubeClient
from reconciler.platforms.kubernetes.traffic import Stats
from reconciler.ports.kinds import Check, PlatformKind, Site

IN_A_POD = "KUBERNETES_SERVICE_HOST"


def _build(site: Site) -> KubernetesPlatform:
    async def connect() -> KubeClient:
        from reconciler.kubernetes.client import open_client

        return open_client(site.spec.context, region=f"{site.environment}/{site.region}")

    async def doors() -> Doors:
        from reconciler.kubernetes import config

        if site.spec.context is None and IN_A_POD in os.environ:
            return await doors_inside()
        return await Doorway(config.connect(config.config_of(site.spec.context))).open()

    def stats(client: KubeClient) -> Stats:
        proxies = ProxyStats(client)
        return ReachableStats(reach, CollectedStats(client, collected), proxies) if collected and reach else proxies

    collected = site.collected(site.spec.prometheus) if site.collected and site.spec.prometheus else None
    reach = Reach(collected) if collected else None
    return KubernetesPlatform(
        site.declared,
        site.region,
        site.runtime_for,
        connect,
        stats=stats,
        doors=doors,
        copies=site.copies,
        servers=CollectedServers(collected, reach) if collected and reach else None,
        models=site.files,
    )


def _checks(region: str, spec: KubernetesRegion) -> Iterator[Check]:
    """Yield whether the kubeconfig has the region's context; nothing is asked of the cluster."""
    from reconciler.kubernetes.config import config_of

    name = f"{region}: context"
    try:
        found = config_of(spec.context)
    except SluiceError as error:
        yield Check(name, "missing", error.problem.what, error.problem.do)
    else:
        yield Check(name, "ok", f"{spec.context or 'of this pod or the kubeconfig'}: {found.cluster.server}")


KIND = PlatformKind("kubernetes", _build, checks=_checks)
