"""What the platform refuses, as coded errors that say what to do. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from environments.errors import SluiceError
from environments.names import Address
from reconciler.platforms.kubernetes.observed import EndpointObjects
from reconciler.platforms.kubernetes.placement import GatewayRef, Placement
from reconciler.platforms.kubernetes.scalers import Scaler
from reconciler.platforms.kubernetes.workload import replica_owners
from reconciler.ports import Remark, SlotAddress

SPANNING = ("vllm",)
"""Runtimes whose servers hold one copy of a model over several machines."""
_SPLITS_SERVICES_ONLY = ("gateway.envoyproxy.io/",)
"""Controllers that split a rule's traffic between Services and not between InferencePools."""


def check_placement(address: Address, place: Placement, controller: str | None) -> None:
    """Refuse what an endpoint asks for and its cluster cannot do.

    Raises:
        SluiceError: `PLAT-021` no image, `PLAT-022` pools that the gateway cannot split between, `PLAT-033` a runtime
            whose replicas cannot span machines.
    """
    if place.workers > 1 and place.runtime not in SPANNING:
        raise SluiceError(
            "PLAT-033",
            where=str(address),
            what=f"one server of the runtime {place.runtime} cannot span {place.workers} machines",
            why="its servers do not know of each other",
            do=f"leave `workers` out, or use one of: {', '.join(SPANNING)}",
        )
    if place.image is None:
        raise SluiceError(
            "PLAT-021",
            where=str(address),
            what=f"no image is named for the runtime {place.runtime}",
            why="a pod runs an image, by its digest",
            do=f"add infrastructure.images.{place.runtime} to environments/{address.environment}.yaml",
        )
    if place.backend == "inference_pool":
        raise _no_pools(address, controller)


def serving(slot: SlotAddress, weight_pct: float) -> SluiceError:
    """Return that a slot with traffic stays as it is."""
    return SluiceError(
        "PLAT-003",
        where=str(slot),
        what=f"the slot serves {weight_pct:g} % of the traffic and was left as it is",
        why="ending its servers would fail requests",
        do="give the weight to the other slot first; `sluice apply` and `sluice rollback` do that",
    )


def nothing_runs(slot: SlotAddress, what: str) -> SluiceError:
    """Return that a slot without servers cannot be treated as one that has some."""
    return SluiceError(
        "PLAT-003",
        where=str(slot),
        what=what,
        why="no server runs there now",
        do="wait until one runs, or start a release there",
        retryable=True,
    )


def stranger(slot: SlotAddress, kind: str, name: str) -> SluiceError:
    """Return that a slot's name is taken by what Sluice did not make."""
    return SluiceError(
        "PLAT-024",
        where=str(slot),
        what=f"the {kind} {name} is not Sluice's and was left as it is",
        why="it has the slot's name and no note of a release",
        do=f"delete it or give it another name: kubectl delete {kind.lower()} {name}",
    )


def foreign_replicas(slot: SlotAddress, owners: Sequence[str], *, have: int, wanted: int, why: str = "") -> SluiceError:
    """Return that somebody else keeps the number of a slot's servers; `why` their autoscaler cannot be borrowed."""
    scaler = f"ScaledObject or HorizontalPodAutoscaler {slot.address.endpoint}-{slot.slot}"
    bound = "minReplicas" if wanted > have else "maxReplicas"
    return SluiceError(
        "PLAT-025",
        where=str(slot),
        what=f"the slot has {have} servers and cannot be given {wanted}",
        why=why
        or f"spec.replicas belongs to {', '.join(owners)}, which would set it back; it was not taken from there",
        do=f"set {bound} of the {scaler} to {wanted}, or remove it while the rollout lasts",
    )


def autoscaled(found: EndpointObjects, steady: int, scalers: Mapping[str, Scaler]) -> tuple[Remark, ...]:
    """Return what a plan says of each slot that somebody has taken beyond what the file declares.

    A challenger needs as many servers as its champion has: its own autoscaler is borrowed to bring them, and where
    there is none nobody may. `scalers` has the autoscaler of each slot.
    """
    remarks = []
    for slot, body in sorted(found.workloads.items()):
        have, owners = int(body["spec"].get("replicas", 1)), replica_owners(body)
        lent = {other: scaler for other, scaler in scalers.items() if other != slot}
        if not owners or have <= steady:
            continue
        problem = next((why for scaler in lent.values() if (why := scaler.cannot(steady, have))), None)
        if lent and problem is None:
            (other, scaler), *_ = sorted(lent.items())
            message = (
                f"slot {slot} has {have} servers by {', '.join(owners)}, and the file declares {steady}: {scaler.name}"
                f" is held at up to {have} for slot {other} while a rollout lasts, and given back after it"
            )
            remarks.append(Remark("PLAT-025", "info", message))
        else:
            message = (
                f"slot {slot} has {have} servers by {', '.join(owners)}, and the file declares {steady}: a challenger"
                f" needs up to {have}, which nobody but its autoscaler may bring"
                f"{f', and {problem}' if problem else ''}. Raise replicas.min to {have} and its minReplicas with it, or"
                " wait for a quieter hour"
            )
            remarks.append(Remark("PLAT-025", "warn", message))
    return tuple(remarks)


def no_gateway(address: Address, gateway: GatewayRef) -> SluiceError:
    """Return that nothing would act on an endpoint's route."""
    return SluiceError(
        "PLAT-026",
        where=str(address),
        what=f"there is no Gateway {gateway.name} in the namespace {gateway.namespace}, or it has no GatewayClass",
        why="a route that no gateway takes passes no traffic",
        do="run `pulumi up` in stacks/serving, or name another one in the region's `gateway`",
        retryable=True,
    )


def _no_pools(address: Address, controller: str | None) -> SluiceError:
    envoy = bool(controller) and str(controller).startswith(_SPLITS_SERVICES_ONLY)
    why = (
        f"the Gateway's controller {controller} takes one pool a rule and cannot split between two"
        if envoy
        else "this build writes routes to Services alone"
    )
    return SluiceError(
        "PLAT-022",
        where=str(address),
        what="its traffic cannot be split between InferencePools here",
        why=why,
        do="declare `backend: service`",
    )
