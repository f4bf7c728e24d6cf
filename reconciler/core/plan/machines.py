"""Machines that resources of a preview run, and what they cost a month at their desired size. Pure.

Only resource types that the price table knows are read, and of their properties only kind and number of machines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from environments.prices import AWS_REGION, EC2, SAGEMAKER, UNKNOWN, PriceBook
from reconciler.core.canonical import Json
from reconciler.core.plan.cost import HOURS_A_MONTH

_IN_A_NAME = re.compile(rf"(?<![a-z]){AWS_REGION.pattern}")  # not the `ws-eu-west-1` of `aws-eu-west-1`


@dataclass(frozen=True, order=True)
class Machines:
    """Some machines of one kind. An empty `region` or `instance`, and no `count`, are what only the apply will know."""

    service: str
    region: str
    instance: str
    count: int | None

    def to_json(self) -> Json:
        """Return them as a plan's JSON has them."""
        return {"service": self.service, "region": self.region, "instance": self.instance, "count": self.count}


def machines_from_json(data: Iterable[Json]) -> tuple[Machines, ...]:
    """Return what `Machines.to_json` wrote."""
    return tuple(Machines(m["service"], m["region"], m["instance"], m["count"]) for m in data)


def machines_of(kind: str, inputs: Mapping[str, Any], provider: str) -> tuple[Machines, ...]:
    """Return the machines of one resource; none for types that have no price here.

    `provider` is its provider's reference, whose name ends in the region that it works in.
    """
    named = [*_IN_A_NAME.finditer(provider)]
    region = _text(inputs.get("region")) or (named[-1][0] if named else "")
    match kind:
        case "aws:eks/nodeGroup:NodeGroup":
            types, scaling = inputs.get("instanceTypes"), inputs.get("scalingConfig")
            first = types[0] if isinstance(types, list) and types else None
            size = scaling.get("desiredSize") if isinstance(scaling, Mapping) else None
            return (Machines(EC2, region, _text(first), _number(size)),)
        case "aws:ec2/instance:Instance":
            return (Machines(EC2, region, _text(inputs.get("instanceType")), 1),)
        case "aws:sagemaker/endpointConfiguration:EndpointConfiguration":
            variants = inputs.get("productionVariants")
            given = [v for v in variants if isinstance(v, Mapping)] if isinstance(variants, list) else []
            return tuple(_variant(region, each) for each in given) or (Machines(SAGEMAKER, region, "", None),)
        case _:
            return ()


def monthly_words(changes: Sequence[tuple[Sequence[Machines], Sequence[Machines]]], prices: PriceBook) -> list[str]:
    """Return what changes add, alter and remove in USD a month, a line each; `changes` are machines before and after.

    What has no price is `[?]` with its reason beside what has one, and is never counted as 0.
    """
    added: list[_Sides] = [(_usd(after, prices), ()) for before, after in changes if after and not before]
    removed: list[_Sides] = [(_usd(before, prices), ()) for before, after in changes if before and not after]
    altered: list[_Sides] = [
        (_usd(after, prices), _usd(before, prices)) for before, after in changes if before and after and before != after
    ]
    kinds = (("adds", added, ""), ("changes by", altered, "+"), ("removes", removed, ""))
    return [_line(verb, found, sign) for verb, found, sign in kinds if found]


_Part = float | str
"""USD a month, or why they are not known."""
_Sides = tuple[tuple[_Part, ...], tuple[_Part, ...]]


def _usd(machines: Sequence[Machines], prices: PriceBook) -> tuple[_Part, ...]:
    return tuple(_month(each, prices) for each in machines)


def _month(each: Machines, prices: PriceBook) -> _Part:
    """Return USD a month, or why it is not known."""
    if not each.instance or each.count is None:
        return "the kind or the number of its machines is known at the apply"
    if not each.region:
        return f"nothing says in which region {each.instance} runs"
    found = prices.find(each.service, each.region, each.instance)
    return found.reason or "no price" if found.usd_per_hour is None else found.usd_per_hour * each.count * HOURS_A_MONTH


def _line(verb: str, found: Sequence[_Sides], sign: str) -> str:
    unknown = sorted({p for after, before in found for p in (*after, *before) if isinstance(p, str)})
    # A change of which one side is not known has no difference either.
    whole = [pair for pair in found if not any(isinstance(p, str) for side in pair for p in side)]
    known = sum(_sum(after) - _sum(before) for after, before in whole)
    said = [f"{known:{sign},.0f} USD a month"] if whole else []
    said += [f"{UNKNOWN} ({'; '.join(unknown)})"] if unknown else []
    return f"{verb} {' and '.join(said)}, at desired size"


def _sum(parts: Iterable[_Part]) -> float:
    return sum(part for part in parts if not isinstance(part, str))


def _variant(region: str, given: Mapping[str, Any]) -> Machines:
    return Machines(SAGEMAKER, region, _text(given.get("instanceType")), _number(given.get("initialInstanceCount")))


def _text(value: object) -> str:
    """Return a property's text; what the engine does not know yet is a marker and no name of a machine or region."""
    return value if isinstance(value, str) and re.fullmatch(r"[a-z][a-z0-9.-]*", value) else ""


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
