"""Take over fields that somebody else manages, when a person asks for it: told in the ledger before and after."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from environments.errors import SluiceError
from environments.names import Address
from environments.spec import EnvironmentSpec
from reconciler.core.events import AdoptionTold
from reconciler.core.plan.plan import Scope
from reconciler.engine.lease import held, lease_name
from reconciler.engine.owner import operator_name, owner_id
from reconciler.planning.planner import check_scope
from reconciler.ports import Adopts, ForeignField, Store, entry_of
from reconciler.ports.adapters import Region

Found = Mapping[Address, tuple[ForeignField, ...]]


@dataclass(frozen=True)
class Adopt:
    """Looks, and takes over, with a store for lease and ledger and the regions that an environment has."""

    spec: EnvironmentSpec
    store: Store
    regions: Mapping[str, Region]
    clock: Callable[[], float]

    async def look(self, endpoint: str, regions: Collection[str]) -> Found:
        """Return what others own of an endpoint, by address; nothing is written.

        Raises:
            SluiceError: `PLAN-004` the endpoint or a region is not declared; `PLAT-030` none of the regions has owners
                of fields; `KUBE-…` a cluster cannot be read.
        """
        found = {}
        for name in self._meant(endpoint, regions):
            address, platform = Address(self.spec.environment, name, endpoint), self.regions[name].writer
            if isinstance(platform, Adopts):
                found[address] = await platform.foreign(address)
        if not found:
            raise SluiceError(
                "PLAT-030",
                where=str(Address.everywhere(self.spec.environment, endpoint)),
                what="there is nothing that could be adopted",
                why="only objects in clusters have fields that others own",
                do="name a region with `platform: kubernetes`",
            )
        return found

    async def take(self, endpoint: str, found: Found, reason: str) -> Found:
        """Take over what was found, and return what was taken; the ledger says who did it and why.

        Raises:
            SluiceError: `LEASE-001` a rollout of the endpoint is being driven; `LEASE-002`; `KUBE-…`.
        """
        who, taken = operator_name(), {}
        async with held(self.store, lease_name(self.spec.environment, endpoint), owner_id(), self.clock) as lease:
            for address, fields in sorted(found.items(), key=lambda each: str(each[0])):
                platform = self.regions[address.region].writer
                if not fields or not isinstance(platform, Adopts):
                    continue
                for kind in ("adopt.before", "adopt.after"):
                    if kind == "adopt.after":
                        taken[address] = await platform.adopt(address, fence=lease.lease.token)
                    event = AdoptionTold(address, kind, _told(taken.get(address, fields)), who, reason)
                    await self.store.append(entry_of(event, now=self.clock(), actor=who), lease=lease.lease)
        return taken

    def _meant(self, endpoint: str, regions: Collection[str]) -> list[str]:
        check_scope(self.spec, Scope((endpoint,), tuple(regions)))
        return [r for r in self.spec.regions_of(endpoint) if r in self.regions and (not regions or r in regions)]


def _told(fields: Sequence[ForeignField]) -> tuple[dict[str, str], ...]:
    return tuple(vars(field) for field in fields)
