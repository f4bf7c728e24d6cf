"""Which pointers a region has: the object that flagd watches in a cluster, a file everywhere else."""

from __future__ import annotations

from pathlib import Path

from environments.spec import EnvironmentSpec, KubernetesRegion, RegionSpec
from reconciler.ports import Pointers


def pointers_for(declared: EnvironmentSpec, name: str, region: RegionSpec, *, home: Path) -> Pointers:
    """Return a region's flag documents; nothing is opened."""
    if not isinstance(region, KubernetesRegion):
        from reconciler.pointers.flagd import FlagdPointers

        return FlagdPointers(home / declared.environment / name)
    from reconciler.pointers.kubernetes import Client, KubernetesPointers
    from reconciler.pointers.objects import HOLDERS

    async def connect() -> Client:
        from reconciler.kubernetes.client import open_client

        return open_client(region.context, region=f"{declared.environment}/{name}")

    return KubernetesPointers(declared, HOLDERS[region.flags], connect)
